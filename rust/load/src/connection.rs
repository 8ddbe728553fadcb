//! One connection to a broker: requests appended to a buffer, answers cut out of another.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::failure::{Failure, Result};

const RECEIVE_BYTES: usize = 256 * 1024;
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Where a request carries its correlation id: after length, key and version.
const CORRELATION_AT: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Connection {
    stream: TcpStream,
    outgoing: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    start: usize,
    end: usize,
    asked: i32,
    answered: i32,
}

impl Connection {
    /// One whose calls wait, for at most a minute.
    pub fn blocking(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .map_err(|error| Failure::new(format!("cannot connect to {address}: {error}")))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream,
            outgoing: Vec::new(),
            sent: 0,
            received: vec![0; RECEIVE_BYTES],
            start: 0,
            end: 0,
            asked: 0,
            answered: 0,
        })
    }

    /// One whose calls do what can be done now.
    pub fn nonblocking(address: &str) -> Result<Self> {
        let connection = Self::blocking(address)?;
        connection.stream.set_nonblocking(true)?;
        Ok(connection)
    }

    /// Append a request, as `Writer::finish` made it, under the next correlation id.
    pub fn ask(&mut self, request: &[u8]) {
        let at = self.outgoing.len() + CORRELATION_AT;
        self.outgoing.extend_from_slice(request);
        self.outgoing[at..at + 4].copy_from_slice(&self.asked.to_be_bytes());
        self.asked = self.asked.wrapping_add(1);
    }

    /// Write what was appended; true when all of it is gone.
    pub fn flush(&mut self) -> Result<bool> {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Read once; false when there was nothing to read.
    pub fn receive(&mut self) -> Result<bool> {
        self.make_room()?;
        match self.stream.read(&mut self.received[self.end..]) {
            Ok(0) => Err(Failure::new("the broker closed the connection")),
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The next whole answer, after its correlation id was found to be the one that is due.
    pub fn next_answer(&mut self) -> Result<Option<&[u8]>> {
        let Some(length) = self.answer_length()? else { return Ok(None) };
        if self.end - self.start < 4 + length {
            return Ok(None);
        }
        let from = self.start + 4;
        self.start = from + length;
        let answer = &self.received[from..from + length];
        let (id, body) = answer
            .split_first_chunk::<4>()
            .ok_or_else(|| Failure::new("an answer without a correlation id"))?;
        if i32::from_be_bytes(*id) != self.answered {
            return Err(Failure::new("an answer came out of order"));
        }
        self.answered = self.answered.wrapping_add(1);
        Ok(Some(body))
    }

    /// Ask and wait for the answer. Only where nothing else is on its way.
    pub fn call(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.ask(request);
        self.flush()?;
        self.wait_for_answer()
    }

    /// The next answer, waited for.
    pub fn wait_for_answer(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(answer) = self.next_answer()? {
                return Ok(answer.to_vec());
            }
            if !self.receive()? {
                return Err(Failure::new("no answer within a minute"));
            }
        }
    }

    fn answer_length(&self) -> Result<Option<usize>> {
        let waiting = &self.received[self.start..self.end];
        let Some(length) = waiting.first_chunk::<4>() else { return Ok(None) };
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) if length <= ANSWER_BYTES_MAX => Ok(Some(length)),
            _ => Err(Failure::new("an answer has an impossible length")),
        }
    }

    /// Room for the rest of the answer that has begun; never none.
    fn make_room(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let wanted = 4 + self.answer_length()?.unwrap_or(0);
        if self.start > 0 && self.start + wanted > self.received.len()
            || self.end == self.received.len()
        {
            self.received.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if wanted > self.received.len() {
            self.received.resize(wanted, 0);
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answer(correlation_id: i32, body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as i32 + 4).to_be_bytes().to_vec();
        bytes.extend_from_slice(&correlation_id.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// A connection to a peer that says `bytes` in pieces of `piece`.
    fn told(bytes: Vec<u8>, piece: usize) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            bytes.chunks(piece).for_each(|chunk| stream.write_all(chunk).unwrap());
        });
        Connection::blocking(&address).unwrap()
    }

    #[test]
    fn answers_are_cut_where_they_end() {
        let big = vec![7; 3 * RECEIVE_BYTES];
        let mut bytes = answer(0, b"one");
        bytes.extend(answer(1, &big));
        bytes.extend(answer(2, b""));
        let mut connection = told(bytes, 100_001);
        assert_eq!(connection.wait_for_answer().unwrap(), b"one");
        assert_eq!(connection.wait_for_answer().unwrap(), big);
        assert_eq!(connection.wait_for_answer().unwrap(), b"");
        assert!(connection.wait_for_answer().unwrap_err().to_string().contains("closed"));
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let mut connection = told(answer(1, b"x"), 100);
        assert!(connection.wait_for_answer().unwrap_err().to_string().contains("order"));
    }

    #[test]
    fn an_impossible_length_is_refused() {
        let mut connection = told(vec![0xff; 8], 100);
        assert!(connection.wait_for_answer().unwrap_err().to_string().contains("length"));
    }
}
