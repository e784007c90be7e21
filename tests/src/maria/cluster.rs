//! Three members and a Consul server, each in a container, on a network of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::image;
use crate::program::steersman;
use crate::wait::until;

/// How many members the cluster has.
pub(super) const MEMBERS: usize = 3;

const CONSUL_PORT: u16 = 8500;

/// What runs; it goes with the handle.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    subnet: String,
}

impl Cluster {
    /// Starts three members from nothing.
    ///
    /// # Panics
    ///
    /// When Docker, MariaDB or Consul is missing.
    pub fn start() -> Cluster {
        let number = std::process::id();
        let subnet = format!("10.77.{}", number % 250);
        let cluster = Cluster { name: format!("steersman-maria-{number}"), subnet };
        build_image(&cluster.name);
        let subnet = format!("{}.0/24", cluster.subnet);
        docker(&["network", "create", "--subnet", &subnet, &cluster.name]);
        cluster.run_consul();
        for member in 0..MEMBERS {
            cluster.run_member(member);
        }
        cluster
    }

    fn run_consul(&self) {
        let (name, address) = (format!("{}-consul", self.name), self.consul_address());
        docker(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--network",
            &self.name,
            "--ip",
            &address,
            "--entrypoint",
            "/usr/bin/consul",
            &self.name,
            "agent",
            "-server",
            "-bootstrap-expect=1",
            "-data-dir=/consul",
            "-client=0.0.0.0",
            "-log-level=warn",
            &format!("-bind={address}"),
            "-hcl=performance { raft_multiplier = 1 }",
        ]);
        let url = format!("http://{address}:{CONSUL_PORT}/v1/status/leader");
        until("Consul has a leader", || {
            let answer = Command::new("curl").args(["--silent", "--max-time", "1", &url]).output();
            let answer = answer.expect("curl can be run").stdout;
            String::from_utf8_lossy(&answer).contains(':').then_some(())
        });
    }

    fn run_member(&self, member: usize) {
        let members: Vec<String> = (0..MEMBERS).map(|nth| self.address(nth)).collect();
        let variables = [
            format!("SELF={}", self.address(member)),
            format!("MEMBERS={}", members.join(" ")),
            format!("CONSUL={}:{CONSUL_PORT}", self.consul_address()),
            "ADMIN_PASSWORD=one".to_owned(),
            "REPLICATION_PASSWORD=two".to_owned(),
            "APP_PASSWORD=three".to_owned(),
            "BUFFER_POOL=32M".to_owned(),
        ];
        let (name, address) = (self.container(member), self.address(member));
        let mut command =
            vec!["run", "--detach", "--name", &name, "--network", &self.name, "--ip", &address];
        command.extend(["--volume", "/var/lib/mariadb"]);
        for variable in &variables {
            command.extend(["--env", variable]);
        }
        command.push(&self.name);
        docker(&command);
    }

    /// Gives a member's address.
    pub fn address(&self, member: usize) -> String {
        format!("{}.{}", self.subnet, 11 + member)
    }

    /// Gives the address of the Consul server.
    pub fn consul_address(&self) -> String {
        format!("{}.10", self.subnet)
    }

    /// Gives the name of a member's container.
    pub fn container(&self, member: usize) -> String {
        format!("{}-{}", self.name, member + 1)
    }

    /// Gives the name of the network.
    pub fn network(&self) -> &str {
        &self.name
    }

    /// Asks a member's database from within its container; `None` when there is no answer.
    pub fn ask(&self, member: usize, statement: &str) -> Option<String> {
        let (name, script) = (self.container(member), format!("--execute={statement}"));
        // What is shown vertically, with \\G, is nothing without its names.
        let names =
            if statement.ends_with("\\G") { "--column-names" } else { "--skip-column-names" };
        let output = Command::new("timeout")
            .args(["5", "docker", "exec", &name, "mariadb", "--no-defaults", "--batch"])
            .args([names, "--socket=/run/mariadb/mariadbd.socket", "--user=root"])
            .arg(script)
            .output()
            .expect("timeout can be run");
        output.status.success().then(|| text(&output))
    }

    /// Gives the only member that can be written to; `None` when there is none, or more than one.
    pub fn primary(&self) -> Option<usize> {
        let is_writable = |member: &usize| {
            self.ask(*member, "SELECT @@read_only").is_some_and(|answer| answer.trim() == "0")
        };
        let writable: Vec<usize> = (0..MEMBERS).filter(is_writable).collect();
        match writable[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Makes the table that the clients write to.
    ///
    /// # Panics
    ///
    /// When the primary does not.
    pub fn create_ledger(&self, primary: usize) {
        let statement = "CREATE TABLE app.ledger (writer INT, number BIGINT, term BIGINT UNSIGNED, \
                         PRIMARY KEY (writer, number))";
        self.ask(primary, statement).expect("a primary makes tables");
    }

    /// Lists the addresses of the passing instances of a service.
    pub fn passing(&self, service: &str) -> Vec<String> {
        let consul = self.consul_address();
        let url = format!("http://{consul}:{CONSUL_PORT}/v1/health/service/{service}?passing");
        let output = Command::new("curl").args(["--silent", "--max-time", "2", &url]).output();
        let output = output.expect("curl can be run");
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let list = list.as_array().cloned().unwrap_or_default();
        let address =
            |entry: &serde_json::Value| entry["Service"]["Address"].as_str().map(String::from);
        let mut found: Vec<String> = list.iter().filter_map(address).collect();
        found.sort();
        found
    }

    /// Gives the log of a member's container.
    pub fn log(&self, member: usize) -> String {
        let name = self.container(member);
        let output = Command::new("docker").args(["logs", "--timestamps", &name]).output();
        let output = output.expect("docker can be run");
        text(&output) + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut containers: Vec<String> = (0..MEMBERS).map(|nth| self.container(nth)).collect();
        if std::thread::panicking() {
            for member in 0..MEMBERS {
                eprintln!("log of {}:\n{}", self.container(member), self.log(member));
            }
        }
        containers.push(format!("{}-consul", self.name));
        let _ = Command::new("docker").args(["unpause"]).args(&containers).output();
        let _ =
            Command::new("docker").args(["rm", "--force", "--volumes"]).args(&containers).output();
        let _ = Command::new("docker").args(["network", "rm", &self.name]).output();
        let _ = Command::new("docker").args(["rmi", "--force", &self.name]).output();
    }
}

/// Runs Docker and gives what it prints; a failure is the end.
///
/// # Panics
///
/// When Docker is missing or says no.
pub(super) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {errors}", arguments.join(" "));
    text(&output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the scripts of the example run.
const PROGRAMS: &[&str] = &[
    "awk",
    "basename",
    "bash",
    "cat",
    "chmod",
    "chown",
    "consul",
    "curl",
    "date",
    "dirname",
    "flock",
    "grep",
    "head",
    "hostname",
    "id",
    "kill",
    "ln",
    "ls",
    "mariadb",
    "mariadb-admin",
    "mariadb-dump",
    "mariadb-install-db",
    "mkdir",
    "mv",
    "my_print_defaults",
    "paste",
    "ps",
    "resolveip",
    "rm",
    "sed",
    "sh",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "uname",
];

fn build_image(name: &str) {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let root = folder.path();
    image::add_program(root, steersman(), "/usr/bin/steersman");
    for program in PROGRAMS {
        let found = Path::new("/usr/bin").join(program);
        assert!(found.exists(), "cannot find {program}: tests/setup/install.sh brings it");
        image::add_program(root, &found, &found.to_string_lossy());
    }
    image::add_program(root, Path::new("/usr/sbin/mariadbd"), "/usr/sbin/mariadbd");
    for needed in ["tmp", "run", "var/lib", "var/run", "consul", "bin", "opt"] {
        fs::create_dir_all(root.join(needed)).expect("a new folder can be written");
    }
    // The database makes temporary files as a user of its own.
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(root.join("tmp"), everybody).expect("it is ours");
    image::add_program(root, Path::new("/bin/bash"), "/bin/bash");
    image::add_program(root, Path::new("/bin/sh"), "/bin/sh");
    copy_tree(Path::new("/usr/share/mysql"), &root.join("usr/share/mysql"));
    for file in ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"] {
        image::add_file(root, Path::new(file), file);
    }
    let example = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/mariadb"));
    copy_tree(&example, &root.join("opt/mariadb"));
    image::import(
        root,
        name,
        &[
            "ENV PATH=/usr/sbin:/usr/bin:/bin",
            r#"ENTRYPOINT ["/usr/bin/steersman", "-config", "/opt/mariadb/steersman.json5"]"#,
        ],
    );
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("it is below the root")).expect("it can be written");
    let status =
        Command::new("cp").args(["--recursive", "--dereference"]).arg(from).arg(to).status();
    assert!(status.expect("cp can be run").success(), "cannot copy {}", from.display());
}
