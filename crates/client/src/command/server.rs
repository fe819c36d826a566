//! Commands to the connection and to the server.

use super::{Answer, Bytes, Error, Opcode, Value, Wire, required};

/// Asks for a sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Ping(pub(crate) ());

impl Wire for Ping {
    type Reply = ();

    fn opcode(&self) -> Opcode {
        Opcode::Ping
    }

    fn decode(&mut self, _: Answer) -> Result<(), Error> {
        Ok(())
    }
}

/// Sends bytes there and back.
#[derive(Clone, Copy, Debug)]
pub struct Echo<V>(pub(crate) V);

impl<V: AsRef<[u8]>> Wire for Echo<V> {
    type Reply = Bytes;

    fn opcode(&self) -> Opcode {
        Opcode::Echo
    }

    fn value(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn decode(&mut self, answer: Answer) -> Result<Bytes, Error> {
        required(answer).map(|(value, _)| value)
    }
}

/// Reads the server's statistics.
#[derive(Clone, Copy, Debug)]
pub struct Info<K>(pub(crate) K);

impl<K: AsRef<[u8]>> Wire for Info<K> {
    type Reply = Value;

    fn opcode(&self) -> Opcode {
        Opcode::Info
    }

    fn key(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn decode(&mut self, answer: Answer) -> Result<Value, Error> {
        typed(answer)
    }
}

/// Lists the connections.
#[derive(Clone, Copy, Debug)]
pub struct Clients(pub(crate) ());

impl Wire for Clients {
    type Reply = Value;

    fn opcode(&self) -> Opcode {
        Opcode::Clients
    }

    fn decode(&mut self, answer: Answer) -> Result<Value, Error> {
        typed(answer)
    }
}

/// Ends a connection.
#[derive(Clone, Copy, Debug)]
pub struct Kill(pub(crate) [u8; 8]);

impl Wire for Kill {
    type Reply = bool;

    fn opcode(&self) -> Opcode {
        Opcode::Kill
    }

    fn value(&self) -> &[u8] {
        &self.0
    }

    fn decode(&mut self, answer: Answer) -> Result<bool, Error> {
        Ok(answer.0.is_some())
    }
}

fn typed(answer: Answer) -> Result<Value, Error> {
    let (value, _) = required(answer)?;
    Value::decode(&value).map_err(|_| Error::unusable("it is not a typed value"))
}
