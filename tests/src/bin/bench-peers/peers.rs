//! The supervisors that are compared, and how each is told to do a task.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::Result;

/// How our own program is called in the tables.
pub(crate) const STEERSMAN: &str = "steersman";

/// Our program as `cargo container` makes it, beside this one.
pub(crate) const STATIC_FILE: &str = "steersman-static";

/// Our program as `cargo build --release` makes it, beside this one.
pub(crate) const SHARED_FILE: &str = "steersman-shared";

/// How the row is called that has no supervisor at all.
pub(crate) const LOOP: &str = "bare spawn loop";

/// A program that ends at once.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ender {
    /// `/bin/true`, whose loader takes most of the time.
    True,
    /// The probe: no loader, no libc, so that the supervisor's share shows.
    Probe,
}

/// What is to be supervised.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Workload {
    /// One job: the probe.
    Start,
    /// So many jobs that sleep.
    Sleepers(usize),
    /// So many jobs that end at once and are restarted at once.
    Restarts(usize, Ender),
    /// So many jobs that sleep, each checked once a second.
    Checks(usize),
}

impl Workload {
    /// Tells how many jobs there are.
    pub(crate) fn jobs(self) -> usize {
        match self {
            Workload::Start => 1,
            Workload::Sleepers(jobs) | Workload::Restarts(jobs, _) | Workload::Checks(jobs) => jobs,
        }
    }

    fn command(self, probe: &Path) -> String {
        match self {
            Workload::Start => probe.display().to_string(),
            Workload::Sleepers(_) | Workload::Checks(_) => "/bin/sleep 100000".to_owned(),
            Workload::Restarts(_, Ender::True) => "/bin/true".to_owned(),
            Workload::Restarts(_, Ender::Probe) => format!("{} --end", probe.display()),
        }
    }
}

/// One supervisor.
pub(crate) struct Peer {
    kind: Kind,
    program: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Loop,
    Steersman,
    SteersmanShared,
    Tini,
    DumbInit,
    S6,
    Runit,
    Supervisor,
    Horust,
}

impl Peer {
    /// Gives every peer, installed or not, in the order of the tables.
    pub(crate) fn all(root: &Path) -> Vec<Peer> {
        let own = std::env::current_exe().unwrap_or_default();
        let folder = own.parent().unwrap_or(Path::new("")).to_path_buf();
        [
            (Kind::Steersman, folder.join(STATIC_FILE)),
            (Kind::SteersmanShared, folder.join(SHARED_FILE)),
            (Kind::Tini, "/usr/bin/tini".into()),
            (Kind::DumbInit, "/usr/bin/dumb-init".into()),
            (Kind::S6, "/usr/bin/s6-svscan".into()),
            (Kind::Runit, "/usr/bin/runsvdir".into()),
            (Kind::Supervisor, "/usr/bin/supervisord".into()),
            (Kind::Horust, root.join("target/peers/bin/horust")),
            (Kind::Loop, own),
        ]
        .map(|(kind, program)| Peer { kind, program })
        .into()
    }

    /// Gives its name in the tables.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Loop => LOOP,
            Kind::Steersman => STEERSMAN,
            Kind::SteersmanShared => "steersman (shared libraries)",
            Kind::Tini => "tini",
            Kind::DumbInit => "dumb-init",
            Kind::S6 => "s6",
            Kind::Runit => "runit",
            Kind::Supervisor => "supervisor",
            Kind::Horust => "Horust",
        }
    }

    /// Tells whether its program is on this machine.
    pub(crate) fn is_there(&self) -> bool {
        self.program.is_file()
    }

    /// Tells whether it is able to do the task at all.
    pub(crate) fn can(&self, workload: Workload) -> bool {
        match (self.kind, workload) {
            (Kind::Loop, workload) => matches!(workload, Workload::Restarts(..)),
            (Kind::Tini | Kind::DumbInit, workload) => {
                matches!(workload, Workload::Start | Workload::Sleepers(1))
            }
            (Kind::Steersman | Kind::SteersmanShared | Kind::Horust, _) => true,
            (Kind::S6 | Kind::Runit | Kind::Supervisor, Workload::Checks(_)) => false,
            (Kind::S6 | Kind::Runit | Kind::Supervisor, _) => true,
        }
    }

    /// Writes its configuration below `folder` and gives the command line.
    pub(crate) fn prepare(
        &self,
        workload: Workload,
        folder: &Path,
        probe: &Path,
    ) -> Result<Vec<OsString>> {
        let command = workload.command(probe);
        let mut line: Vec<OsString> = vec![self.program.clone().into()];
        match self.kind {
            Kind::Loop => {
                line.extend(["measure".into(), "loop".into()]);
                line.push(workload.jobs().to_string().into());
                line.extend(command.split(' ').map(OsString::from));
            }
            Kind::Tini => {
                line.extend(["-s", "--"].map(OsString::from));
                line.extend(command.split(' ').map(OsString::from));
            }
            Kind::DumbInit => line.extend(command.split(' ').map(OsString::from)),
            Kind::S6 => {
                service_folders(workload, folder, &command)?;
                line.extend(["-c", "1000"].map(OsString::from));
                line.push(folder.join("services").into());
            }
            Kind::Runit => {
                service_folders(workload, folder, &command)?;
                line.push(folder.join("services").into());
            }
            Kind::Supervisor => {
                let file = folder.join("supervisord.conf");
                fs::write(&file, supervisor_file(workload, folder, &command))?;
                line.extend(["-n".into(), "-c".into(), file.into()]);
            }
            Kind::Horust => {
                let services = folder.join("services");
                fs::create_dir(&services)?;
                for job in 0..workload.jobs() {
                    let text = horust_file(workload, &command);
                    fs::write(services.join(format!("job{job}.toml")), text)?;
                }
                line.extend(["--services-path".into(), services.into()]);
                line.extend(["--uds-folder-path".into(), folder.into()]);
            }
            Kind::Steersman | Kind::SteersmanShared => {
                let file = folder.join("steersman.json5");
                fs::write(&file, steersman_file(workload, folder, &command))?;
                line.extend(["-config".into(), file.into()]);
            }
        }
        Ok(line)
    }
}

/// The folders of s6 and runit: `run` is the program itself where it needs no argument, else two
/// lines of shell.
fn service_folders(workload: Workload, folder: &Path, command: &str) -> Result<()> {
    for job in 0..workload.jobs() {
        let service = folder.join("services").join(format!("job{job}"));
        fs::create_dir_all(&service)?;
        let run = service.join("run");
        if command.contains(' ') {
            fs::write(&run, format!("#!/bin/sh\nexec {command}\n"))?;
            fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
        } else {
            symlink(command, &run)?;
        }
    }
    // runsvdir waits for the next second when the folder changed in this one.
    let settled = SystemTime::now() - Duration::from_secs(60);
    fs::File::open(folder.join("services"))?.set_modified(settled)?;
    Ok(())
}

fn supervisor_file(workload: Workload, folder: &Path, command: &str) -> String {
    let folder = folder.display();
    let mut text = format!(
        "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\n\
         pidfile={folder}/pid\nchildlogdir={folder}\nminfds=8192\n"
    );
    for job in 0..workload.jobs() {
        let _ =
            write!(text, "[program:job{job}]\ncommand={command}\nstartsecs=0\nautorestart=true\n");
    }
    text
}

fn horust_file(workload: Workload, command: &str) -> String {
    let mut text = format!("command = \"{command}\"\n[environment]\nkeep-env = true\n");
    match workload {
        Workload::Start | Workload::Sleepers(_) => {}
        Workload::Restarts(..) => {
            text.push_str("[restart]\nstrategy = \"always\"\nbackoff = \"0s\"\n");
        }
        Workload::Checks(_) => {
            text.push_str("[healthiness]\ncommand = \"/bin/true\"\n");
        }
    }
    text
}

fn steersman_file(workload: Workload, folder: &Path, command: &str) -> String {
    let folder = folder.display();
    let more = match workload {
        Workload::Start | Workload::Sleepers(_) => "",
        Workload::Restarts(..) => ", restarts: \"unlimited\", backoff: \"none\"",
        Workload::Checks(_) => ", health: { exec: \"/bin/true\", interval: 1, ttl: 5 }",
    };
    let mut text = format!("{{ control: {{ socket: \"{folder}/socket\" }}, jobs: [\n");
    for job in 0..workload.jobs() {
        let _ = writeln!(text, "  {{ name: \"job{job}\", exec: \"{command}\"{more} }},");
    }
    text.push_str("] }\n");
    text
}
