//! What every measurement needs: sizes, times, and what the process asked of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::report::shown;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much is measured.
pub(crate) struct Sizes {
    /// Turns of the one session that is appended to and opened, ascending.
    pub(crate) turns: Vec<u64>,
    /// Sessions that are listed.
    pub(crate) sessions: [u64; 2],
    /// Messages that are searched.
    pub(crate) messages: [u64; 2],
    /// Questions of each class, at either size.
    pub(crate) questions: [usize; 2],
    /// Turns of each session that is searched.
    pub(crate) session_turns: u64,
    /// Calls of what takes microseconds.
    pub(crate) calls: usize,
    /// Rounds of what takes longer.
    pub(crate) rounds: usize,
    /// How long a slow system is measured at one size.
    pub(crate) budget: Duration,
    /// How long what has a pace is kept up.
    pub(crate) paced: Duration,
    /// Turns that are streamed to see how large their log becomes.
    pub(crate) streamed: u64,
    /// Rounds of what gives one figure each: bytes, and peaks of memory.
    pub(crate) samples: usize,
}

impl Sizes {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self {
                turns: vec![100, 1_000, 5_000],
                sessions: [200, 2_000],
                messages: [4_000, 20_000],
                questions: [40, 200],
                session_turns: 20,
                calls: 200,
                rounds: 5,
                budget: Duration::from_millis(300),
                paced: Duration::from_secs(3),
                streamed: 600,
                samples: 1,
            }
        } else {
            Self {
                turns: vec![100, 1_000, 10_000, 100_000],
                sessions: [1_000, 100_000],
                messages: [200_000, 1_000_000],
                questions: [200, 200],
                session_turns: 100,
                calls: 2_000,
                rounds: 21,
                budget: Duration::from_secs(3),
                paced: Duration::from_secs(10),
                streamed: 3_000,
                samples: 3,
            }
        }
    }

    pub(crate) fn small(&self) -> u64 {
        self.turns.first().copied().unwrap_or(1)
    }

    pub(crate) fn large(&self) -> u64 {
        self.turns.last().copied().unwrap_or(1)
    }
}

/// One run: its sizes and its folder.
pub(crate) struct Bench {
    pub(crate) sizes: Sizes,
    folder: PathBuf,
}

impl Bench {
    pub(crate) fn new(quick: bool, folder: &Path) -> Self {
        Self { sizes: Sizes::new(quick), folder: folder.to_path_buf() }
    }

    /// An empty folder of this name, whatever was there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        remove(&folder)?;
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Removes a folder, if there is one.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// How long each of many calls took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Notes how long a call takes.
    pub(crate) fn time<T>(&mut self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = call()?;
        self.push(start.elapsed());
        Ok(result)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn sum(&self) -> Duration {
        self.0.iter().sum()
    }

    /// Microseconds below which this share of the calls lies.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        sorted.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// The p99 where there are enough calls for one: of fewer it would be the slowest by another
    /// name.
    pub(crate) fn p99_of_many(&self) -> Option<f64> {
        (self.len() >= 100).then(|| self.p99())
    }

    pub(crate) fn mean(&self) -> f64 {
        self.sum().as_secs_f64() * 1e6 / self.len() as f64
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.p50() / 1e6
    }
}

/// One figure of each of some rounds. Their median is the figure, and how far they lie apart is
/// said beside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }

    pub(crate) fn median(&self) -> f64 {
        self.sorted().get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn greatest(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    /// From the least to the greatest, in words.
    pub(crate) fn spread(&self) -> String {
        match &*self.sorted() {
            [least, .., greatest] => {
                format!("{}–{} in {} rounds", shown(*least), shown(*greatest), self.0.len())
            }
            _ => "one round".to_owned(),
        }
    }
}

/// The bytes that this process has given to the system to write so far, by all of its threads.
pub(crate) fn written() -> Result<u64> {
    field("/proc/self/io", "wchar:")
}

/// The most memory that this process has ever used, in megabytes.
pub(crate) fn peak_mb() -> Result<f64> {
    Ok(field("/proc/self/status", "VmHWM:")? as f64 * 1024.0 / 1e6)
}

/// The time that all threads of this process have had of the processors so far, in ticks of the
/// system, which are hundredths of a second about everywhere: their ratios are what means something.
pub(crate) fn cpu_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program stands in brackets, and may have any character in it.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name in it")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    match fields.get(11..13) {
        Some([user, system]) => Ok(user.parse::<u64>()? + system.parse::<u64>()?),
        _ => Err("/proc/self/stat says no times".into()),
    }
}

fn field(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next());
    let number = number.ok_or_else(|| format!("{file} does not say {name}"))?;
    Ok(number.parse()?)
}

/// What a new process found, by name.
pub(crate) type Found = BTreeMap<String, f64>;

/// Runs this program anew for one measurement.
pub(crate) fn child(arguments: &[&str]) -> Result<Found> {
    found(&mut Command::new(std::env::current_exe()?), arguments)
}

fn found(command: &mut Command, arguments: &[&str]) -> Result<Found> {
    let output = command.arg("--child").args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the measurement {arguments:?} failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// How often a new process syncs a file, which only a tracer can tell for every engine alike.
/// `None` where there is none.
pub(crate) fn syncs_of_child(trace: &Path, arguments: &[&str]) -> Result<Option<u64>> {
    if !has_tracer() {
        return Ok(None);
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o"]);
    found(command.arg(trace).arg(std::env::current_exe()?), arguments)?;
    let text = fs::read_to_string(trace)?;
    Ok(Some(text.lines().filter(|line| line.contains("sync(")).count() as u64))
}

/// Whether `strace` is there and allowed to trace.
pub(crate) fn has_tracer() -> bool {
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
