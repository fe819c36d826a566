//! `docs/cli.md` and the program say the same: a test reads the page.

use clap::Command;

use super::table;
use crate::error::{CODES, Exit};

const PAGE: &str = include_str!("../../../../docs/cli.md");

/// Rows of the table whose head is `| head |...`: the cells of each.
fn rows(head: &str) -> Vec<Vec<String>> {
    let mut lines = PAGE
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {head} |")));
    assert!(
        lines.next().is_some(),
        "there is no table with the head {head}"
    );
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.replace("\\|", "/");
            let cells = cells.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

#[test]
fn the_page_lists_every_command_with_its_own_words() {
    let documented: Vec<(String, String)> = rows("command")
        .into_iter()
        .map(|cells| {
            let name = cells[0].trim_matches('`').split(' ').next().unwrap();
            (name.to_owned(), cells[1].clone())
        })
        .collect();
    let table = table();
    let real: Vec<(String, String)> = table
        .get_subcommands()
        .map(|command| {
            (
                command.get_name().to_owned(),
                command.get_about().unwrap().to_string(),
            )
        })
        .collect();
    assert_eq!(documented, real);
}

#[test]
fn the_page_names_every_sub_command() {
    for cells in rows("command") {
        let words: Vec<&str> = cells[0]
            .trim_matches('`')
            .split([' ', '/', '[', ']'])
            .collect();
        let table = table();
        let command = table.find_subcommand(words[0]).unwrap();
        for name in command.get_subcommands().map(Command::get_name) {
            assert!(words.contains(&name), "{name} of {}", words[0]);
        }
    }
}

#[test]
fn the_page_lists_every_exit_code() {
    let real: Vec<Vec<String>> = Exit::TABLE
        .iter()
        .map(|(exit, meaning)| vec![exit.number().to_string(), (*meaning).to_owned()])
        .collect();
    assert_eq!(rows("exit"), real);
}

#[test]
fn the_page_lists_every_code_of_the_programs_own_with_its_exit_code() {
    let documented: Vec<(String, String)> = rows("code")
        .into_iter()
        .map(|cells| (cells[0].clone(), cells[1].clone()))
        .collect();
    let real: Vec<(String, String)> = CODES
        .iter()
        .map(|code| (code.name().to_owned(), code.exit().number().to_string()))
        .collect();
    assert_eq!(documented, real);
}
