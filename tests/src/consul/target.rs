//! What a case can be run against.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use steersman_sim::consul::{AgentId, Consul, Input, Options, Output, Request, RequestId, http};

use super::wire::{self, Got, Wanted};

/// One Consul, real or not, with its own time.
pub trait Target {
    /// Begins a request.
    fn start(&mut self, wanted: &Wanted) -> u64;
    /// Waits for its end; also says how many milliseconds it took.
    fn end(&mut self, id: u64) -> (Got, u64);
    /// Lets time pass.
    fn sleep(&mut self, duration: Duration);
    /// Says whether a request has been answered already.
    fn is_done(&mut self, id: u64) -> bool;
    /// Sends a request and waits for its end.
    fn send(&mut self, wanted: &Wanted) -> (Got, u64) {
        let id = self.start(wanted);
        self.end(id)
    }
}

/// A Consul behind an address.
pub struct Remote {
    address: SocketAddr,
    started: BTreeMap<u64, JoinHandle<(Got, u64)>>,
    count: u64,
}

impl Remote {
    /// Names the address.
    pub fn new(address: SocketAddr) -> Remote {
        Remote { address, started: BTreeMap::new(), count: 0 }
    }
}

impl Target for Remote {
    fn start(&mut self, wanted: &Wanted) -> u64 {
        let (address, wanted) = (self.address, wanted.clone());
        self.count += 1;
        let asking = thread::spawn(move || {
            let begun = Instant::now();
            let got = wire::send(address, &wanted).unwrap_or_else(|error| Got {
                body: format!("{} {}: {error}", wanted.method, wanted.target).into_bytes(),
                ..Got::default()
            });
            (got, u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
        });
        self.started.insert(self.count, asking);
        self.count
    }

    fn end(&mut self, id: u64) -> (Got, u64) {
        let asking = self.started.remove(&id).expect("it was started");
        asking.join().expect("the client does not panic")
    }

    fn sleep(&mut self, duration: Duration) {
        // The case is about time passing: there is no condition to wait for.
        let until = Instant::now() + duration;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
    }

    fn is_done(&mut self, id: u64) -> bool {
        self.started.get(&id).is_none_or(JoinHandle::is_finished)
    }
}

/// The model, called directly, in virtual time.
pub struct Direct {
    consul: Consul,
    now: u64,
    count: u64,
    begun: BTreeMap<u64, u64>,
    heads: BTreeSet<u64>,
    done: BTreeMap<u64, (Got, u64)>,
}

const MILLISECOND: u64 = 1_000_000;

impl Direct {
    /// Builds a model.
    pub fn new(options: Options) -> Direct {
        Direct {
            consul: Consul::new(0, options),
            now: 1_000 * MILLISECOND,
            count: 0,
            begun: BTreeMap::new(),
            heads: BTreeSet::new(),
            done: BTreeMap::new(),
        }
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for Output { id, response } in outputs {
            // A broken connection has status 0, as at the remote.
            let Some(mut response) = response else {
                let begun = self.begun.remove(&id.0).unwrap_or(self.now);
                self.done.insert(id.0, (Got::default(), (self.now - begun) / MILLISECOND));
                continue;
            };
            if self.heads.remove(&id.0) {
                response.body.clear();
            }
            let headers = response
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_string()))
                .collect();
            let got = Got { status: response.status, headers, body: response.body };
            let begun = self.begun.remove(&id.0).unwrap_or(self.now);
            self.done.insert(id.0, (got, (self.now - begun) / MILLISECOND));
        }
    }

    fn run_until(&mut self, until: u64) {
        while let Some(at) = self.consul.next_wakeup().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let outputs = self.consul.handle(self.now, Input::Tick);
            self.take(outputs);
        }
        self.now = self.now.max(until);
    }
}

impl Target for Direct {
    fn start(&mut self, wanted: &Wanted) -> u64 {
        self.now += MILLISECOND;
        self.count += 1;
        let mut request =
            Request::new(&wanted.method, &wanted.target).with_body(wanted.body.clone());
        for (name, value) in &wanted.headers {
            request = request.with_header(name, value);
        }
        request.chunked = wanted.chunked;
        self.begun.insert(self.count, self.now);
        if wanted.method == "HEAD" {
            self.heads.insert(self.count);
        }
        let id = RequestId(self.count);
        let input = Input::Request { id, agent: AgentId(0), request };
        let outputs = self.consul.handle(self.now, input);
        self.take(outputs);
        self.count
    }

    fn end(&mut self, id: u64) -> (Got, u64) {
        while !self.done.contains_key(&id) {
            let next = self.consul.next_wakeup().expect("something is still to come");
            self.run_until(next);
        }
        self.done.remove(&id).expect("it was waited for")
    }

    fn sleep(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.run_until(self.now.saturating_add(nanos));
    }

    fn is_done(&mut self, id: u64) -> bool {
        self.done.contains_key(&id)
    }
}

/// The model behind real HTTP, in a thread of its own until the process ends.
///
/// When no socket can be had.
pub fn serve_model(options: Options) -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime can be built"));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || runtime.block_on(http::serve(listener, options)));
    address
}
