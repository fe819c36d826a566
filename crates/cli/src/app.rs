//! What commands share while the program runs: options, output, and the connection once one is made.

use std::time::Duration;

use kv_client::MultiplexedClient;

use crate::args::Global;
use crate::connect;
use crate::error::CliError;
use crate::output::{Output, Terminal};
use crate::settings::Settings;

/// Whose standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// A command may read a value from it.
    Free,
    /// It holds the lines of the prompt.
    Commands,
}

/// What commands share.
pub(crate) struct App {
    /// Where output goes.
    pub(crate) output: Output,
    /// Options of the command line.
    pub(crate) global: Global,
    /// Whose standard input is.
    pub(crate) stdin: Stdin,
    settings: Option<Settings>,
    client: Option<MultiplexedClient>,
}

impl App {
    /// For one command.
    pub(crate) fn new(global: Global, terminal: Terminal) -> Self {
        let key_format = global.output.key_format.unwrap_or_default();
        Self {
            output: Output::new(global.output.format, key_format, terminal),
            global,
            stdin: Stdin::Free,
            settings: None,
            client: None,
        }
    }

    /// Which server, as whom: looked up once.
    pub(crate) fn settings(&mut self) -> Result<&Settings, CliError> {
        if self.settings.is_none() {
            self.settings = Some(Settings::of_process(&self.global)?);
        }
        self.settings
            .as_ref()
            .ok_or_else(|| CliError::usage("there are no settings"))
    }

    /// The connection, which is made when it is first needed, and again when it was lost since.
    pub(crate) async fn client(&mut self) -> Result<MultiplexedClient, CliError> {
        if let Some(client) = self.client.take_if(|client| client.session().is_some()) {
            return Ok(self.client.insert(client).clone());
        }
        let client = connect::connect(self.settings()?).await?;
        Ok(self.client.insert(client).clone())
    }

    /// As [`App::client`], for many calls: a connection that is lost is made again.
    pub(crate) async fn lasting_client(&mut self) -> Result<MultiplexedClient, CliError> {
        self.close().await;
        let client = connect::connect_lasting(self.settings()?).await?;
        Ok(self.client.insert(client).clone())
    }

    /// Says goodbye, if there is a connection: the server then logs no lost one.
    pub(crate) async fn close(&mut self) {
        if let Some(client) = self.client.take() {
            // Commands are over: nothing is in flight, so this is one frame each way.
            let _ = tokio::time::timeout(Duration::from_millis(250), client.close()).await;
        }
    }

    /// What the prompt shows.
    pub(crate) fn prompt(&mut self) -> String {
        match self.settings() {
            Ok(settings) => format!("{}> ", settings.url),
            Err(_) => "kv> ".to_owned(),
        }
    }
}
