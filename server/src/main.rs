//! The binary `highwaterd`; see [`highwater_server::daemon`].
fn main() -> std::process::ExitCode {
    highwater_server::daemon::main()
}
