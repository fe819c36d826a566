//! Arguments of `bench`: those of `kv-bench`, which reads them itself.

use std::ffi::OsString;

use clap::Args;

/// Arguments of `bench`.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct BenchArgs {
    /// What to measure, and how: `kv-cli bench --help` says more
    // All that follows is the other parser's, options of the same names as ours too.
    #[arg(
        value_name = "ARGUMENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) arguments: Vec<OsString>,
}
