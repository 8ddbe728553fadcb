//! Which connections have something to do.

use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::failure::Result;

const EVENTS_MAX: usize = 256;

pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watch for answers to read.
    pub fn watch(&self, connection: &impl AsFd, number: usize) -> Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, connection, data, epoll::EventFlags::IN)?)
    }

    /// Watch for room to write as well, or no more.
    pub fn watch_writing(
        &self,
        connection: &impl AsFd,
        number: usize,
        is_wanted: bool,
    ) -> Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        let room = if is_wanted { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        Ok(epoll::modify(&self.epoll, connection, data, epoll::EventFlags::IN | room)?)
    }

    /// The numbers of those that are ready, after at most `wait_ms`.
    pub fn wait(&mut self, wait_ms: u64) -> Result<Vec<usize>> {
        let timeout = Timespec {
            tv_sec: (wait_ms / 1000) as i64,
            tv_nsec: (wait_ms % 1000 * 1_000_000) as i64,
        };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| event.data.u64() as usize).collect())
    }
}
