//! No file names a directory of the machine it was written on.

use super::Problem;

/// Beginnings of paths that exist on somebody's machine only. Written in pieces, so that this
/// file passes its own rule.
const PATHS: [&str; 5] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("C:\\Us", "ers\\"),
];

/// Paths of machines in one file.
pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for found in PATHS.into_iter().filter(|found| stands_alone(line, found)) {
            problems.push(Problem::new(
                path,
                at + 1,
                format!("names a machine's path: {found}"),
            ));
        }
    }
    problems
}

/// Whether `path` begins in `line` where a path can begin, and not inside of another. What follows it
/// is somebody's name; one letter is nobody's, and stands in tests.
fn stands_alone(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|front| front.chars().next_back());
        let after = line
            .get(at..)
            .and_then(|rest| rest.strip_prefix(path))
            .unwrap_or_default();
        let name = after.chars().take_while(|c| c.is_alphanumeric()).count();
        if name == 1 {
            return false;
        }
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found_and_a_relative_one_is_not() {
        for path in PATHS {
            assert_eq!(check("a", &format!("see `{path}xy`")).len(), 1, "{path}");
            assert_eq!(check("a", &format!("see some{path}xy")), [], "{path}");
        }
        assert_eq!(check("a", &format!("HOME={}a", concat!("/ho", "me/"))), []);
        assert_eq!(check("a", "/etc/kv/server.toml and /var/lib/kv"), []);
    }
}
