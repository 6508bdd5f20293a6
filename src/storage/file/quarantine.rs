//! Copies of what is damaged, kept before anything is changed.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::append::Add;
use super::disk::{Disk, UNFINISHED, parent, read_range, with_suffix};
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
    /// Finds the numbers of a log's lines.
    pub(super) fn line_numbers<'a>(&'a self, key: &SessionKey, log: &'a Log) -> LineNumbers<'a> {
        LineNumbers { disk: &self.disk, path: self.layout.log(key), log, offset: 0, lines: 0 }
    }

    pub(super) fn report_damage(
        &self,
        key: &SessionKey,
        log: &Log,
        offset: u64,
        problem: &str,
    ) -> Result<(), FileError> {
        let damage = self.line_numbers(key, log).damage_at(offset, problem.to_owned())?;
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
        let kept = self
            .keep(key, &*log.file, 0, log.len, "damaged")
            .and_then(|copy| self.drop_if_deleted(key, log, &copy));
        if let Err(error) = kept {
            tracing::error!(%error, place = damage.place, "no copy of a damaged log could be kept");
        }
    }

    /// Readers hold no lock. A deletion writes its tombstone before it looks for copies: one that
    /// it did not see is removed by whoever made it.
    fn drop_if_deleted(
        &self,
        key: &SessionKey,
        log: &Log,
        copy: &std::path::Path,
    ) -> Result<(), FileError> {
        if self.tombstone(key)?.is_some_and(|deleted| deleted >= log.tail.head.incarnation) {
            self.disk.remove(copy)?;
            self.disk.sync_dir(parent(copy))?;
            self.disk.remove_dir(parent(copy))?;
        }
        Ok(())
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
        let copied = self.disk.create(&unfinished).and_then(|copy| {
            self.each_block(&log, file, from, to, &mut |block| {
                self.disk.append(&*copy, &unfinished, block)
            })?;
            copy.sync_data().map_err(self.disk.failed("sync", &path))?;
            self.disk.rename(&unfinished, &path)
        });
        if copied.is_err() {
            self.disk.discard(&unfinished);
        }
        copied?;
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

/// Counts a log's lines once, however many of them are asked for in ascending order.
pub(super) struct LineNumbers<'a> {
    disk: &'a Disk,
    path: PathBuf,
    log: &'a Log,
    offset: u64,
    lines: u64,
}

impl LineNumbers<'_> {
    /// What is wrong at an offset, with the number of the line there.
    pub(super) fn damage_at(&mut self, offset: u64, problem: String) -> Result<Damage, FileError> {
        self.lines += count_lines(&*self.log.file, self.offset, offset)
            .map_err(self.disk.failed("read", &self.path))?;
        self.offset = offset;
        Ok(Damage { place: self.disk.show(&self.path), record: Some(self.lines + 1), problem })
    }
}
