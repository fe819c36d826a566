//! `kv-bench durable`: writes that are acknowledged when they are on disk, beside Redis's; reads of the
//! disk engine, beside the memory engine's where they are hot, and alone where they are cold.
//!
//! All servers of one run have their directories on the same file system.

use anyhow::{Context, Result};

use super::turns::Turns;
use super::{Places, launch, machine, publish, tell};
use crate::arguments::DurableArguments;
use crate::results::Results;
use crate::shapes::{durable, reads};
use crate::system::{Certificates, Durability, Kind, Launch, Storage, ensure_on_disk, find};

pub(super) fn execute(arguments: &DurableArguments) -> Result<()> {
    let timing = arguments.timing.timing()?;
    let parent = arguments
        .directory
        .clone()
        .unwrap_or_else(std::env::temp_dir);
    ensure_on_disk(&parent).with_context(|| format!("looking at {}", parent.display()))?;
    let places = Places::take(&arguments.pin)?;
    let certificates = Certificates::new()?;
    let program = arguments.server.as_ref();
    let ours = Launch {
        parent: Some(parent.clone()),
        ..launch(Kind::Kv, program, places, &arguments.pin, &certificates)?
    };
    let mut turns = Turns {
        only: arguments.only.clone(),
        ..Turns::new(Vec::new(), timing)
    };
    let mut systems = Vec::new();
    let keys = arguments.timing.keys(arguments.keys);
    for &durability in &arguments.durability {
        let storage = Storage::Disk {
            durability,
            cache_mib: None,
        };
        let mut launches = vec![Launch {
            storage,
            ..ours.clone()
        }];
        for kind in [Kind::Redis, Kind::Valkey] {
            if find(kind).is_none() {
                continue;
            }
            launches.push(Launch {
                storage,
                parent: Some(parent.clone()),
                ..launch(kind, None, places, &arguments.pin, &certificates)?
            });
        }
        take(&mut turns, &mut systems, launches)?;
        turns.group(durable(durability.name(), keys))?;
    }
    let disk = |cache_mib| Launch {
        storage: Storage::Disk {
            durability: Durability::Always,
            cache_mib,
        },
        ..ours.clone()
    };
    let memory = Launch {
        name: "kv in memory".to_owned(),
        ..ours.clone()
    };
    take(&mut turns, &mut systems, vec![disk(None), memory])?;
    turns.group(reads("hot", keys, &[(1, 1), (50, 1), (50, 64)]))?;
    let cold = arguments.timing.keys(arguments.cold_keys);
    take(
        &mut turns,
        &mut systems,
        vec![disk(Some(arguments.cold_cache))],
    )?;
    turns.group(reads("cold", cold, &[(1, 1), (50, 1), (50, 64)]))?;
    let mut machine = machine(places, systems);
    machine.notes = turns.notes;
    let results = Results {
        kind: "durable".into(),
        machine,
        records: turns.records,
        figures: turns.figures,
    };
    publish(&results, arguments.json.as_deref())
}

/// The next shapes are measured on these.
fn take(turns: &mut Turns, systems: &mut Vec<String>, launches: Vec<Launch>) -> Result<()> {
    for system in launches.iter().map(Launch::describe) {
        tell(&system)?;
        if !systems.contains(&system) {
            systems.push(system);
        }
    }
    turns.launches = launches;
    Ok(())
}
