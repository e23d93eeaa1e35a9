//! Storage of kept sessions: that of the program that loads a model, or memory.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::weights::source::{ByteSource, MemorySource};

/// Storage of kept sessions.
pub trait SessionStore: Debug {
    /// Appends bytes to a session, which begins with its first bytes.
    ///
    /// # Errors
    /// Errors of the storage, e.g. for lack of room.
    fn append(&self, id: u32, bytes: &[u8]) -> Result<()>;

    /// Opens a session.
    ///
    /// # Errors
    /// Errors of the storage.
    fn open(&self, id: u32) -> Result<Rc<dyn ByteSource>>;

    /// Removes a session, if it exists.
    fn remove(&self, id: u32);
}

/// Storage of kept sessions in the memory of the program.
#[derive(Debug, Default)]
pub(super) struct ProgramMemory(RefCell<Vec<(u32, Vec<u8>)>>);

impl SessionStore for ProgramMemory {
    fn append(&self, id: u32, bytes: &[u8]) -> Result<()> {
        let mut sessions = self.0.borrow_mut();
        match sessions.iter_mut().find(|(of, _)| *of == id) {
            Some((_, session)) => session.extend_from_slice(bytes),
            None => sessions.push((id, bytes.to_vec())),
        }
        Ok(())
    }

    fn open(&self, id: u32) -> Result<Rc<dyn ByteSource>> {
        let sessions = self.0.borrow();
        let session = sessions.iter().find(|(of, _)| *of == id);
        let (_, bytes) = session.ok_or_else(|| Error::internal("kept session: not found"))?;
        Ok(Rc::new(MemorySource::new("kept session", bytes.as_slice())))
    }

    fn remove(&self, id: u32) {
        self.0.borrow_mut().retain(|(of, _)| *of != id);
    }
}
