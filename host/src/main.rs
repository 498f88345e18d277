//! The `rookery` program.

fn main() -> std::process::ExitCode {
    rookery::command::main()
}
