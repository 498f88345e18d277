//! Why a component cannot be served: what is wrong and what would mend it.

/// Why a component cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not wasm at all.
    #[error("it is not a WebAssembly file")]
    NotWasm,
    /// A core module, the older kind of wasm file.
    #[error("it is a core WebAssembly module, not a component")]
    CoreModule,
    /// A component that the engine does not accept.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// A component that needs something nobody here has.
    #[error("it imports what this host does not provide: {0}")]
    Import(String),
    /// A component that is no agent.
    #[error("it does not export `{HANDLER}`, so it is no agent: {0}")]
    World(String),
    /// Values that the host adds to its requests and cannot guard.
    #[error("what [http.inject] adds cannot be guarded: {0}")]
    Guard(String),
}

/// The export that makes a component an agent.
pub(crate) const HANDLER: &str = "rookery:agent/handler@0.1.0";

impl LoadError {
    /// What would mend it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotWasm => "put only components, ending in .wasm, into the folder",
            Self::CoreModule => {
                "build it as a component: for Rust `--target wasm32-wasip2`, or `wasm-tools component new`"
            }
            Self::Compile(_) => "check the file with `wasm-tools validate --features all`",
            Self::Import(_) => {
                "build it against the world `rookery:agent/plugin` in wit/, or WASI 0.2 or 0.3"
            }
            Self::Guard(_) => {
                "look at the variables that the sidecar names; a key has some hundred characters at most"
            }
            Self::World(_) => "export the world `rookery:agent/plugin` in wit/",
        }
    }
}

/// Tells components from what people put in their place: the first eight bytes say it.
pub(crate) fn check_header(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_components_from_modules_and_other_files() {
        assert!(check_header(b"\0asm\x0d\0\x01\0rest").is_ok());
        assert!(matches!(check_header(b"\0asm\x01\0\0\0rest"), Err(LoadError::CoreModule)));
        for other in [&b""[..], b"\0asm", b"#!/bin/sh\n", b"(component)"] {
            assert!(matches!(check_header(other), Err(LoadError::NotWasm)));
        }
    }
}
