//! What a program can ask for: one table for the reader, the documentation and the world.

use serde::{Deserialize, Serialize};

macro_rules! verbs {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $text:literal of $kind:ident ($least:literal, $most:literal)
    ),+ $(,)?) => {
        /// A request that a program can make.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Verb { $($(#[$doc])* $variant),+ }

        impl Verb {
            /// Every verb.
            pub const ALL: &'static [Verb] = &[$(Verb::$variant),+];

            /// Gives its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Verb::$variant => $text),+ }
            }

            /// Tells whom it asks.
            pub const fn of(self) -> Peer {
                match self { $(Verb::$variant => Peer::$kind),+ }
            }

            /// Gives the least and the largest number of its arguments.
            pub const fn arguments(self) -> (usize, usize) {
                match self { $(Verb::$variant => ($least, $most)),+ }
            }
        }
    };
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Consul, over the node's link.
    Consul,
    /// A server of the database, on this node or another.
    Database,
    /// The supervisor, over its control socket.
    Supervisor,
    /// The store of backups.
    Store,
    /// Nobody: the reader of the story.
    Reader,
}

verbs! {
    /// The value of a key; `.session`, `.index`, `.found` beside it. KEY, perhaps a way to read.
    KvGet = "kv.get" of Consul (1, 2),
    /// Writes a key whoever holds it. KEY VALUE.
    KvPut = "kv.put" of Consul (2, 2),
    /// Writes a key that has not changed since. KEY VALUE INDEX.
    KvCas = "kv.cas" of Consul (3, 3),
    /// Removes a key. KEY.
    KvDelete = "kv.delete" of Consul (1, 1),
    /// Takes a lock. KEY VALUE SESSION.
    KvAcquire = "kv.acquire" of Consul (3, 3),
    /// Gives a lock back. KEY VALUE SESSION.
    KvRelease = "kv.release" of Consul (3, 3),
    /// Begins a session. TTL, perhaps the lock-delay.
    SessionCreate = "session.create" of Consul (1, 2),
    /// Renews a session. ID.
    SessionRenew = "session.renew" of Consul (1, 1),
    /// Ends a session. ID.
    SessionDestroy = "session.destroy" of Consul (1, 1),
    /// The nodes with a passing instance of a service. SERVICE, perhaps a way to read.
    ServicePassing = "service.passing" of Consul (1, 2),
    /// The nodes with any instance of a service. SERVICE, perhaps a way to read.
    ServiceAll = "service.all" of Consul (1, 2),
    /// Reads anything of Consul's API. PATH.
    ConsulGet = "consul.get" of Consul (1, 1),
    /// Writes anything over Consul's API. PATH, perhaps a body.
    ConsulPut = "consul.put" of Consul (1, 2),
    /// What is in the data directory: `empty`, `initialised` or `restored`.
    DbData = "db.data" of Database (0, 0),
    /// Makes an empty database.
    DbInit = "db.init" of Database (0, 0),
    /// Takes the data of a backup. BACKUP.
    DbRestore = "db.restore" of Database (1, 1),
    /// Logs in with the users that the cluster has; fails with `denied` without them.
    DbLogin = "db.login" of Database (0, 0),
    /// Makes the users.
    DbUsers = "db.users" of Database (0, 0),
    /// Asks anything.
    DbQuery = "db.query" of Database (0, 0),
    /// What the server does: `.source`, `.replication`, `.replicas`, `.term`, `.position` and more.
    DbStatus = "db.status" of Database (0, 0),
    /// Replicates from another server, perhaps in the term of a token: NODE `[TOKEN]`. Fails with
    /// `refused` when it has promised a newer one.
    DbFollow = "db.follow" of Database (1, 2),
    /// Forgets the source; writes are refused or taken as before.
    DbReset = "db.reset" of Database (0, 0),
    /// Stops replication and remembers the source.
    DbUnfollow = "db.unfollow" of Database (0, 0),
    /// Forgets the source and takes writes, perhaps with a fencing token: `[TOKEN]`.
    DbPromote = "db.promote" of Database (0, 1),
    /// Refuses writes, or takes them. 'yes' or ''.
    DbReadOnly = "db.read-only" of Database (1, 1),
    /// Takes the data of another server in place of its own; refused when it has promised itself
    /// to a larger token. NODE, perhaps the source's token.
    DbClone = "db.clone" of Database (1, 2),
    /// Promises to help no older term, stops replication, and tells its status; fails with
    /// `refused` when it has promised a newer one. TOKEN.
    DbPromise = "db.promise" of Database (1, 1),
    /// Stores a backup and gives its name.
    DbSnapshot = "db.snapshot" of Database (0, 0),
    /// Logs in at the store of backups.
    StoreLogin = "store.login" of Store (0, 0),
    /// Writes another variant of the node's configuration file. NAME, or '' for the first.
    Configure = "supervisor.configure" of Supervisor (1, 1),
    /// Reads the configuration again; with 'all' every job restarts.
    Reload = "supervisor.reload" of Supervisor (0, 1),
    /// Restarts a job. JOB.
    RestartJob = "supervisor.restart" of Supervisor (1, 1),
    /// Switches maintenance on ('yes') or off ('').
    Maintenance = "supervisor.maintenance" of Supervisor (1, 1),
    /// Tells the reader of the story something.
    Say = "say" of Reader (1, 1),
}

impl Verb {
    /// Finds a verb by its word.
    pub fn find(word: &str) -> Option<Verb> {
        Verb::ALL.iter().find(|verb| verb.as_str() == word).copied()
    }
}
