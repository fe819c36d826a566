//! Both ends of a session in suite 1, without a socket between them.

use kv_proto::limits::FRAME_BYTES_DEFAULT;
use kv_proto::{
    FrameHead, Opcode, Opener, Schedule, Sealer, Secret, Suite, Transport, write_frame,
};

/// What was done is not what was asked for, and its instructions mean nothing.
#[derive(Debug)]
pub(crate) struct Failed;

/// The server's halves, which are counted, and the client's, which are not.
pub(crate) struct Session {
    pub(crate) opener: Opener,
    pub(crate) sealer: Sealer,
    pub(crate) output: Vec<u8>,
    client_sealer: Sealer,
    client_opener: Opener,
    last_id: u32,
}

impl Session {
    pub(crate) fn new() -> Self {
        let keys = Schedule::new(
            &Secret::new(&[7; 32]),
            &[0; 32],
            &Transport::Plain,
            Suite::Hmac,
            [9; 32],
        );
        let open = |keys| Opener::version_2(Suite::Hmac, keys, FRAME_BYTES_DEFAULT);
        Self {
            opener: open(keys.client_to_server()),
            sealer: Sealer::version_2(Suite::Hmac, keys.server_to_client()),
            output: Vec::with_capacity(4096),
            client_sealer: Sealer::version_2(Suite::Hmac, keys.client_to_server()),
            client_opener: open(keys.server_to_client()),
            last_id: 0,
        }
    }

    /// The next request, sealed.
    pub(crate) fn request(&mut self, opcode: Opcode, key: &[u8], value: &[u8]) -> Vec<u8> {
        self.last_id = self.last_id.wrapping_add(1);
        let mut request = Vec::with_capacity(4096);
        let head = FrameHead::new(opcode, self.last_id);
        let start = write_frame(&mut request, head, &[], key, value);
        self.client_sealer.seal(&mut request, start);
        request
    }

    /// Whether the client takes what stands in the output for the answer.
    pub(crate) fn is_accepted(&mut self, value: &[u8]) -> Result<(), Failed> {
        let mut input = self.output.as_mut_slice();
        let frame = self.client_opener.next(&mut input);
        let frame = frame.map_err(|_| Failed)?.ok_or(Failed)?;
        let accepted = frame.opcode() == Opcode::Ok.into()
            && frame.request_id() == self.last_id
            && frame.value() == value;
        if accepted { Ok(()) } else { Err(Failed) }
    }
}
