//! What must hold: expressions over what an onlooker sees, and the judge that watches them.

pub mod expression;
pub mod judge;
mod opposite;
mod parse;
pub mod server;
pub mod source;
pub mod view;

pub use crate::phrase::ParseError;
pub use expression::{Expression, State, Subject};
pub use judge::{Breach, Judge, Property, Rule, Suite};
pub use opposite::contradicts;
pub use parse::{Names, parse};
pub use source::{Demand, PropertySource, SuiteSource};
pub use view::View;
