//! Copies of what is damaged, kept before anything is changed.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::append::Add;
use super::disk::{UNFINISHED, parent, read_range, with_suffix};
use super::engine::Engine;
use super::error::FileError;
use super::scan::count_lines;
use super::system::OpenFile;
use super::tail::Log;
use crate::error::Result;
use crate::storage::line::{self, Checksum};
use crate::storage::{Damage, SessionKey};

const BLOCK: u64 = 1 << 20;
/// The longest first line that is looked at whenever a log is opened.
const FIRST_LINE: u64 = 64 << 10;

impl Engine {
    /// What is wrong at an offset of a log, with the number of the line there.
    pub(super) fn damage_at(
        &self,
        key: &SessionKey,
        log: &Log,
        offset: u64,
        problem: &str,
    ) -> Result<Damage, FileError> {
        let path = self.layout.log(key);
        let lines = count_lines(&*log.file, offset).map_err(self.disk.failed("read", &path))?;
        let (place, problem) = (self.disk.show(&path), problem.to_owned());
        Ok(Damage { place, record: Some(lines + 1), problem })
    }

    pub(super) fn report_damage(
        &self,
        key: &SessionKey,
        log: &Log,
        offset: u64,
        problem: &str,
    ) -> Result<(), FileError> {
        let damage = self.damage_at(key, log, offset, problem)?;
        self.keep_damaged(key, log, &damage);
        Ok(())
    }

    /// A log without its first line can be read from its tail, and must not be written to.
    pub(super) fn look_at_first_line(&self, key: &SessionKey, log: &Log) -> Result<(), FileError> {
        let path = self.layout.log(key);
        // Nearly always it is short.
        let read = |upto: u64| {
            let start = read_range(&*log.file, 0, upto.min(log.tail.end));
            let start = start.map_err(self.disk.failed("read", &path))?;
            let end = start.iter().position(|&b| b == b'\n');
            Ok::<_, FileError>(end.map(|end| start.slice(..end)))
        };
        let first = match read(FIRST_LINE >> 4)? {
            None => read(FIRST_LINE)?,
            first => first,
        };
        let Some(first) = first else { return Ok(()) };
        if line::decode(&first, Some(Checksum::START)).is_err() {
            self.report_damage(key, log, 0, "the log's first record is missing or damaged")?;
        }
        Ok(())
    }

    /// Remembers that a log is damaged and keeps a copy of it. Reading goes on if that fails.
    pub(super) fn keep_damaged(&self, key: &SessionKey, log: &Log, damage: &Damage) {
        if self.known_damage(key, log).is_some() {
            return;
        }
        self.note_damage(key, log, damage);
        tracing::warn!(place = damage.place, record = damage.record, "a log is damaged");
        if let Err(error) = self.keep(key, &*log.file, 0, log.len, "damaged") {
            tracing::error!(%error, place = damage.place, "no copy of a damaged log could be kept");
        }
    }

    /// Copies a part of a log into the session's quarantine, durably, under the hash of its
    /// content: the same is kept once.
    pub(super) fn keep(
        &self,
        key: &SessionKey,
        file: &dyn OpenFile,
        from: u64,
        to: u64,
        what: &str,
    ) -> Result<PathBuf, FileError> {
        let log = self.layout.log(key);
        let mut hasher = Sha256::new();
        self.each_block(&log, file, from, to, &mut |block| {
            hasher.update(block);
            Ok(())
        })?;
        let digits: String =
            hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let path = self.layout.quarantine(key).join(format!("{what}-{from}-{digits}"));
        if self.disk.regular(&path)?.is_some() {
            return Ok(path);
        }
        self.disk.ensure_dir(parent(&path))?;
        let unfinished = with_suffix(&path, UNFINISHED);
        let copy = self.disk.create(&unfinished)?;
        self.each_block(&log, file, from, to, &mut |block| {
            self.disk.append(&*copy, &unfinished, block)
        })?;
        copy.sync_data().map_err(self.disk.failed("sync", &path))?;
        self.disk.rename(&unfinished, &path)?;
        self.disk.sync_dir(parent(&path))?;
        Ok(path)
    }

    pub(super) fn each_block(
        &self,
        path: &std::path::Path,
        file: &dyn OpenFile,
        from: u64,
        to: u64,
        each: Add<'_>,
    ) -> Result<(), FileError> {
        let mut offset = from;
        while offset < to {
            let block = read_range(file, offset, to.min(offset + BLOCK))
                .map_err(self.disk.failed("read", path))?;
            if block.is_empty() {
                break;
            }
            each(&block)?;
            offset += block.len() as u64;
        }
        Ok(())
    }
}
