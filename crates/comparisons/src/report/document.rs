//! The document: people's words, and between `begin` and `end` what was measured.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

pub(crate) struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, text })
    }

    /// Replaces what stands in a block.
    pub(crate) fn replace(&mut self, name: &str, block: &str) -> Result<()> {
        let (begin, end) = (
            format!("<!-- begin: {name} -->\n"),
            format!("<!-- end: {name} -->"),
        );
        let (front, rest) = self
            .text
            .split_once(&begin)
            .with_context(|| begin.clone())?;
        let (_, back) = rest.split_once(&end).with_context(|| end.clone())?;
        self.text = format!("{front}{begin}{}\n{end}{back}", block.trim_end());
        Ok(())
    }

    pub(crate) fn write(&self) -> Result<()> {
        Ok(fs::write(&self.path, &self.text)?)
    }
}
