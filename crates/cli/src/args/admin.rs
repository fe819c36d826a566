//! Arguments of the commands about the server itself.

use clap::{Args, Subcommand};

use super::value::Duration;

/// Arguments of `ping`.
#[derive(Args, Debug)]
pub(crate) struct PingArgs {
    /// How many times
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// Wait this long between two
    #[arg(long, short = 'i', value_name = "DURATION")]
    pub(crate) interval: Option<Duration>,
}

/// Arguments of `info`.
#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    /// Only this section
    #[arg(value_name = "SECTION")]
    pub(crate) section: Option<String>,
}

/// Arguments of `clients`.
#[derive(Args, Debug)]
pub(crate) struct ClientsArgs {
    /// What to do; absent: list them.
    #[command(subcommand)]
    pub(crate) command: Option<ClientsCommand>,
}

/// What to do with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// End a connection of the server
    Kill {
        /// Id of the connection, as `kv-cli clients` lists it
        #[arg(value_name = "ID")]
        id: u64,
    },
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {}
