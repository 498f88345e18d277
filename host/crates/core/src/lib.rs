//! The words of Rookery as types: parsed once at the edge, correct ever after. No I/O and no waiting.

mod durability;
mod event;
mod failure;
mod money;
mod name;
mod prompt;
mod spent;
mod state;
mod time;
mod units;

pub use durability::Durability;
pub use event::{Chunk, ChunkError, Event, Item, LARGEST_VALUE, LONGEST_TEXT, Outcome, Stop};
pub use failure::{Code, Failure};
pub use money::{Money, MoneyError};
pub use name::{AgentId, AgentName, Generation, NameError, PluginName, RunId};
pub use prompt::{Alarm, Origin, Overlap, Prompt};
pub use spent::Spent;
pub use state::{LISTED_PROMPT, RunState, Standing, StateName, StateNameError};
pub use time::rfc3339;
pub use units::{ByteSize, Span, UnitError};
