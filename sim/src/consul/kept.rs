//! Answers to reads, kept until the tables change, and what requests ask for: most of what is asked
//! is asked again and again.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::acl::Authority;
use super::http_api::Request;
use super::read::{Answer, Read};
use super::route::{Routed, Site, route};
use super::store::{Store, Watch};
use super::types::Str;

/// So many different reads or requests are kept.
const KEPT_MAX: usize = 64;

/// What a read yields, and which writes could change that.
pub(crate) type Looked = (Answer, Arc<[Watch]>);

/// The answers to reads of the tables as they are. They are no state: a copy has none of them, and
/// no hash knows them.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<Read, Looked>);

impl Kept {
    pub(crate) fn forget(&mut self) {
        if !self.0.is_empty() {
            self.0.clear();
        }
    }
}

impl Clone for Kept {
    fn clone(&self) -> Kept {
        Kept::default()
    }
}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Store {
    /// Runs a read, or finds what it yielded before.
    pub(crate) fn look(&mut self, read: &Read, authority: &Authority) -> Result<Looked, String> {
        if *authority != (Authority::All { acl_on: false }) {
            return run(read, self, authority);
        }
        if let Some(looked) = self.kept.0.get(read) {
            return Ok(looked.clone());
        }
        let looked = run(read, self, authority)?;
        if self.kept.0.len() >= KEPT_MAX {
            self.kept.forget();
        }
        self.kept.0.insert(read.clone(), looked.clone());
        Ok(looked)
    }
}

fn run(read: &Read, store: &Store, authority: &Authority) -> Result<Looked, String> {
    let (answer, watches) = read.run(store, authority)?;
    Ok((answer, Arc::from(watches)))
}

/// What requests with small bodies ask for at one agent, by what they address. No state either.
#[derive(Debug, Default)]
pub(crate) struct Routes(BTreeMap<Box<str>, (Request, Found)>);

/// Longer bodies are not compared.
const BODY_MAX: usize = 1_024;

type Found = (Routed, Str, bool);

impl Routes {
    /// Finds out what a request asks for, its token, and whether it wants indented JSON.
    pub(crate) fn find(&mut self, request: &Request, site: &Site<'_>) -> Found {
        if request.body.len() > BODY_MAX {
            return route(request, site);
        }
        if let Some((known, found)) = self.0.get(&request.target)
            && known == request
        {
            return found.clone();
        }
        let found = route(request, site);
        if self.0.len() >= KEPT_MAX {
            self.0.clear();
        }
        self.0.insert(request.target.clone(), (request.clone(), found.clone()));
        found
    }
}

impl Clone for Routes {
    fn clone(&self) -> Routes {
        Routes::default()
    }
}

impl Hash for Routes {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
