//! The pure state machine of steersman: every decision, no I/O.
//!
//! [`Engine::handle`] takes the time and one input, changes the state and yields effects in order;
//! [`Engine::next_wakeup`] says when it next wants to be called; [`Engine::digest`] is a stable
//! hash of the state. Nothing here reads a clock, a file, the environment, a socket, a thread or a
//! random source: the crate is `no_std`, so the compiler keeps them out.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod base64;
mod calendar;
pub mod canonical;
pub mod config;
pub mod consul;
mod control;
#[cfg_attr(not(feature = "defects"), doc(hidden))]
pub mod defect;
pub mod effect;
mod engine;
pub mod event;
#[cfg(feature = "std")]
pub mod front;
mod guarding;
mod health;
pub mod id;
pub mod input;
mod key_reading;
pub mod limits;
mod lock_state;
mod locking;
mod random;
mod registration;
mod reload;
mod run;
pub mod schedule;
mod shutdown;
mod signal;
mod slot;
pub mod status;
mod stop;
pub mod term;
pub mod time;
mod timers;
#[cfg(feature = "std")]
pub mod trace;
mod trigger;
mod vacating;
pub mod variable;
mod watching;
#[cfg(feature = "std")]
pub mod wire;
mod wiring;

pub use effect::Effect;
pub use engine::Engine;
pub use event::{Code, Event, Source};
pub use id::{JobId, RequestId, RunId, RunKind};
pub use input::Input;
pub use time::{Stamp, Time};
