//! The machine of a run.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::results::Results;

pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    compiler: String,
    /// Of the last five minutes, the benchmarks themselves included.
    load: String,
}

impl Machine {
    pub(crate) fn read() -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name: &str| {
            let line = cpus.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(": ")?.1.trim().to_owned())
        };
        let cpu = format!(
            "{} (family {}, model {})",
            field("model name").context("model name")?,
            field("cpu family").context("cpu family")?,
            field("model\t").context("model")?,
        );
        let load = fs::read_to_string("/proc/loadavg")?;
        let compiler = Command::new("rustc").arg("--version").output()?.stdout;
        Ok(Self {
            cpu,
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            compiler: String::from_utf8(compiler)?.trim().to_owned(),
            load: load.split(' ').nth(1).unwrap_or_default().to_owned(),
        })
    }

    pub(crate) fn text(&self, results: &Results) -> String {
        let (half, most) = results.spread();
        format!(
            "{}, {} cores of a virtual machine; Linux {}; {}. Load average over the last five minutes of the run: {} \
             (the benchmarks alone make 1). Every time is the median of criterion's samples (10 to 100 of them); the \
             median absolute deviation is below {half:.1} % of it for half of the benchmarks and below {most:.1} % for \
             nine in ten.",
            self.cpu, self.cores, self.kernel, self.compiler, self.load
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cores": self.cores,
            "kernel": self.kernel,
            "compiler": self.compiler,
            "load_5_minutes": self.load,
        })
    }
}
