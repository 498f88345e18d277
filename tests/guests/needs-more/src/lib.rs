//! An agent that needs something which no host provides.

wit_bindgen::generate!({
    inline: "
        package test:needs-more;
        interface telepathy { read-mind: func() -> string; }
        world needs-more {
            include rookery:agent/contract@0.1.0;
            import telepathy;
        }
    ",
    path: "../../../wit",
    generate_all,
});

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::types::Chunk;
use test::needs_more::telepathy;

struct Needy;

impl Guest for Needy {
    async fn handle(_: Prompt, reply: Reply) -> Result<(), Failure> {
        let _ = reply.write(&Chunk::Text(telepathy::read_mind()));
        Ok(())
    }
}

export!(Needy);
