//! What a guest may send out, and how it is sent: the plugin's grants, one pooled client for all plugins, and
//! the checks that keep a guest from reaching what it was not granted.
//!
//! [`Grants`] are read once, when a plugin is loaded: what its sidecar allows, and the headers that the host
//! adds for it. A [`Client`] is the host's one way out; [`Client::caller`] hands each plugin its [`Caller`],
//! and [`Caller::send`] is the only function here that opens a connection.
//!
//! Promises: nothing is sent that no entry allows, and nothing reaches an address that is not public unless an
//! entry names that address itself, or who runs the host vouches for the name ([`Grants::trusted`]). Neither a guest nor a
//! log sees an injected value. Redirects are answers like any other, proxies named by the environment are not used. Bodies
//! are streamed both ways. Requests may be recorded, or answered from what was recorded (see `rookery_cassettes`); what is
//! granted is the same then.
//! Bounded by: a number of open requests per plugin, what is read of a response ahead of its guest, and a time for
//! connecting, for the first byte and between bytes.
//! Ends when: the run's token is cancelled; then its requests end too, whether or not somebody waits on them.

mod address;
mod ahead;
mod body;
mod client;
mod entry;
mod error;
mod grants;
mod headers;
mod host;
mod inject;
mod line;
mod record;
mod replay;
mod resolve;
mod response;
mod target;
mod timeouts;

pub use body::Body;
pub use client::{Caller, Client, ClientSettings, DEFAULT_OPEN_REQUESTS};
pub use error::{BoxError, SendError};
pub use grants::{GrantError, Grants};
pub use inject::Injected;
pub use resolve::{Lookup, system_lookup};
pub use response::ResponseBody;
pub use timeouts::{AskedTimeouts, Timeouts};
