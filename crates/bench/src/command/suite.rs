//! `kv-bench suite`, `compare` and `floor`: the standard shapes, on our server alone, beside the
//! other systems, or beside the floor.

use anyhow::{Result, ensure};

use super::turns::{SetUp, Turns};
use super::{Places, launch, machine, publish, tell};
use crate::arguments::StandardArguments;
use crate::results::Results;
use crate::shapes::{Audience, standard};
use crate::system::{Certificates, Kind, Launch, find};

/// Which systems a sub-command measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Ours.
    Ours,
    /// Ours and whatever other system is installed.
    Everyone,
    /// Ours and the echo server on raw system calls.
    Floor,
}

impl Field {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "suite",
            Self::Everyone => "compare",
            Self::Floor => "floor",
        }
    }

    fn kinds(self) -> Vec<Kind> {
        match self {
            Self::Ours => vec![Kind::Kv],
            Self::Floor => vec![Kind::Kv, Kind::Floor],
            Self::Everyone => [Kind::Redis, Kind::Valkey, Kind::Memcached]
                .into_iter()
                .filter(|&kind| find(kind).is_some())
                .fold(vec![Kind::Kv], |mut kinds, kind| {
                    kinds.push(kind);
                    kinds
                }),
        }
    }
}

const fn set_up(name: &'static str, suite: u8, tls: bool, password: bool) -> SetUp {
    SetUp {
        name,
        suite,
        tls,
        password,
    }
}

pub(super) fn execute(field: Field, arguments: &StandardArguments) -> Result<()> {
    let timing = arguments.timing.timing()?;
    let kinds = field.kinds();
    ensure!(
        field != Field::Everyone || kinds.len() > 1,
        "none of redis-server, valkey-server and memcached is installed"
    );
    let places = Places::take(&arguments.pin)?;
    let certificates = Certificates::new()?;
    let launches = kinds
        .iter()
        .map(|&kind| {
            let program = arguments.server.as_ref().filter(|_| kind == Kind::Kv);
            launch(kind, program, places, &arguments.pin, &certificates)
        })
        .collect::<Result<Vec<Launch>>>()?;
    let systems: Vec<String> = launches.iter().map(Launch::describe).collect();
    for system in &systems {
        tell(system)?;
    }
    let mut turns = Turns {
        only: arguments.only.clone(),
        idle: arguments.timing.idle(arguments.idle),
        ..Turns::new(launches, timing)
    };
    let audience = match field {
        Field::Ours => Audience::Ours,
        Field::Everyone => Audience::Everyone,
        Field::Floor => Audience::Floor,
    };
    if field != Field::Floor {
        turns.cold_starts()?;
        turns.idle()?;
    }
    match field {
        Field::Ours => turns.set_ups(&[
            set_up("set-up with suite 1", 1, false, false),
            set_up("set-up with suite 2", 2, false, false),
            set_up("set-up with TLS", 1, true, false),
        ])?,
        // kv has its key in all of them.
        Field::Everyone => turns.set_ups(&[
            set_up("set-up", 1, false, false),
            set_up("set-up with a password", 1, false, true),
            set_up("set-up with TLS", 1, true, false),
            set_up("set-up with TLS and a password", 1, true, true),
        ])?,
        Field::Floor => {}
    }
    for group in standard(audience, arguments.timing.keys(arguments.keys)) {
        turns.group(group)?;
    }
    let mut machine = machine(places, systems);
    machine.notes = turns.notes;
    let results = Results {
        kind: field.name().into(),
        machine,
        records: turns.records,
        figures: turns.figures,
    };
    publish(&results, arguments.json.as_deref())
}
