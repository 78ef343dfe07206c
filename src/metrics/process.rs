//! The metrics of the process. Linux has them in files, which are opened once: a process without a free
//! file descriptor could not open them, and that is when people need these metrics.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::fs::RawDir;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::catalogue::{self, Group, Kind, Metric};

/// What Linux knows about this process. Unknown values have no series.
#[derive(Debug)]
pub struct Process {
    stat: File,
    /// The folder of descriptors. Reading moves its position, so one reads at a time.
    descriptors: Mutex<File>,
    /// When the system started, in seconds since 1970.
    boot: Option<f64>,
    /// Clock ticks in a second.
    ticks: f64,
    /// Bytes of a page of memory.
    page: f64,
    descs: Vec<Desc>,
}

impl Process {
    /// Fails without `/proc`.
    pub fn open() -> io::Result<Process> {
        let of_process = catalogue::ALL.iter().filter(|metric| metric.group == Group::Process);
        Ok(Process {
            stat: File::open("/proc/self/stat")?,
            descriptors: File::open("/proc/self/fd")?.into(),
            boot: boot_time(&fs::read_to_string("/proc/stat").unwrap_or_default()), // else no start time
            ticks: clock_ticks_per_second() as f64,
            page: page_size() as f64,
            descs: of_process.map(desc).collect(),
        })
    }

    fn stat(&self) -> io::Result<Stat> {
        // 52 fields with at most 20 digits.
        let mut line = [0; 2048];
        let length = self.stat.read_at(&mut line, 0)?;
        Ok(Stat::parse(&String::from_utf8_lossy(&line[..length])))
    }

    fn open_descriptors(&self) -> io::Result<usize> {
        let folder = self.descriptors.lock().unwrap_or_else(PoisonError::into_inner);
        (&*folder).rewind()?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&*folder, &mut buffer);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            // Not the folder itself and the one above.
            count += usize::from(!entry?.file_name().to_bytes().starts_with(b"."));
        }
        Ok(count)
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = self.stat().unwrap_or_default(); // no series
        let open = self.open_descriptors().ok().map(|open| open as f64); // no series
        let max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) as f64;
        let start = |(boot, ticks)| (boot * self.ticks + ticks) / self.ticks;
        let values = [
            (catalogue::PROCESS_CPU, stat.cpu_ticks.map(|ticks| ticks / self.ticks)),
            (catalogue::PROCESS_MAX_FDS, Some(max)),
            (catalogue::PROCESS_OPEN_FDS, open),
            (catalogue::PROCESS_RESIDENT_MEMORY, stat.pages.map(|pages| pages * self.page)),
            (catalogue::PROCESS_START_TIME, self.boot.zip(stat.start_ticks).map(start)),
            (catalogue::PROCESS_THREADS, stat.threads),
            (catalogue::PROCESS_VIRTUAL_MEMORY, stat.virtual_bytes),
        ];
        let known = values.into_iter().filter_map(|(metric, value)| Some(family(&metric, value?)));
        known.flatten().collect()
    }
}

fn desc(metric: &Metric) -> Desc {
    Desc::new(metric.name.to_owned(), metric.help.to_owned(), Vec::new(), HashMap::new())
        .expect("the catalogue has valid names")
}

fn family(metric: &Metric, value: f64) -> Vec<MetricFamily> {
    let options = Opts::new(metric.name, metric.help);
    match metric.kind {
        Kind::Counter => {
            let counter = Counter::with_opts(options).expect("the catalogue has valid names");
            counter.inc_by(value);
            counter.collect()
        }
        Kind::Gauge => {
            let gauge = Gauge::with_opts(options).expect("the catalogue has valid names");
            gauge.set(value);
            gauge.collect()
        }
    }
}

/// Fields of `/proc/self/stat`.
#[derive(Debug, Default, PartialEq)]
struct Stat {
    /// User and system time.
    cpu_ticks: Option<f64>,
    threads: Option<f64>,
    /// After the start of the system.
    start_ticks: Option<f64>,
    virtual_bytes: Option<f64>,
    /// In memory.
    pages: Option<f64>,
}

impl Stat {
    fn parse(line: &str) -> Stat {
        // The program's name, which can have blanks and brackets, is the second field.
        let rest = line.rsplit_once(") ").map_or("", |(_, rest)| rest); // no series
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // As proc_pid_stat(5) counts them.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok(); // no series
        Stat {
            cpu_ticks: field(14).zip(field(15)).map(|(user, system)| user + system),
            threads: field(20),
            start_ticks: field(22),
            virtual_bytes: field(23),
            pages: field(24),
        }
    }
}

/// When the system started, from `/proc/stat`.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    /// The value of each metric.
    fn values(process: &Process) -> HashMap<String, f64> {
        let value = |family: MetricFamily| {
            let metric = &family.get_metric()[0];
            let value = metric.get_counter().get_value() + metric.get_gauge().get_value();
            (family.name().to_owned(), value)
        };
        process.collect().into_iter().map(value).collect()
    }

    #[test]
    fn a_program_can_have_any_name() {
        let line = "7 (a) 1 (b) c) S 1 7 7 0 -1 64 99 0 0 0 120 45 0 0 20 0 3 0 5000 8192 2 9";
        let expected = Stat {
            cpu_ticks: Some(165.0),
            threads: Some(3.0),
            start_ticks: Some(5000.0),
            virtual_bytes: Some(8192.0),
            pages: Some(2.0),
        };
        assert_eq!(Stat::parse(line), expected);
        assert_eq!(Stat::parse("7 (a) S 1"), Stat::default());
        assert_eq!(Stat::parse(""), Stat::default());
    }

    #[test]
    fn the_systems_start_is_one_line_of_many() {
        assert_eq!(boot_time("cpu  1 2\nbtime 1793534400\nprocesses 9\n"), Some(1_793_534_400.0));
        assert_eq!(boot_time("cpu  1 2\n"), None);
    }

    #[test]
    fn what_cannot_be_read_has_no_series() {
        let mut process = Process::open().expect("/proc");
        process.stat = File::open("/dev/null").expect("a file");
        process.descriptors = File::open("/dev/null").expect("a file").into();
        assert_eq!(values(&process).into_keys().collect::<Vec<_>>(), ["process_max_fds"]);
    }

    #[test]
    fn values_are_those_of_this_process() {
        let process = Process::open().expect("/proc");
        let _files: Vec<File> =
            (0..300).map(|_| File::open("/dev/null").expect("a file")).collect();
        let values = values(&process);
        let value = |name: &str| values[name];
        assert_eq!(values.len(), 7);
        let open = value("process_open_fds");
        // Two are of `process`.
        assert!(open >= 302.0 && open <= value("process_max_fds"), "{open}");
        assert!(value("process_threads") >= 1.0);
        let resident = value("process_resident_memory_bytes");
        assert!(resident > 1e6 && resident <= value("process_virtual_memory_bytes"), "{resident}");
        let start = Duration::from_secs_f64(value("process_start_time_seconds"));
        let age = (SystemTime::UNIX_EPOCH + start).elapsed().expect("a time in the past");
        assert!(age < Duration::from_secs(3600), "{age:?}");
        assert!(value("process_cpu_seconds_total") < 3600.0);
    }

    #[test]
    fn the_time_on_the_cpu_has_hundredths() {
        let process = Process::open().expect("/proc");
        let start = Instant::now();
        while values(&process)["process_cpu_seconds_total"].fract() == 0.0 {
            assert!(start.elapsed() < Duration::from_secs(60), "whole seconds");
        }
    }
}
