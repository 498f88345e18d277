//! What a component exports for the host to call: its handler, and what it need not have.

use crate::output::Output;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre, Resource, TypedFunc};

use crate::contract::{AlarmPre, LifecyclePre, Ringing, check, types};
use crate::state::State;

/// What a run calls: with what it is given, and where it writes.
pub(crate) type Function<P> = TypedFunc<(P, Resource<Output>), (Result<(), types::Failure>,)>;

const HANDLER: &str = "rookery:agent/handler@0.1.0";
const LIFECYCLE: &str = "rookery:agent/lifecycle@0.1.0";
const ALARM: &str = "rookery:agent/alarm@0.1.0";

/// Where a component has what the host calls.
pub(crate) struct Exports {
    handle: ComponentExportIndex,
    lifecycle: Option<Lifecycle<ComponentExportIndex>>,
    ring: Option<ComponentExportIndex>,
}

/// What can be called in one instance.
pub(crate) struct Calls {
    pub(crate) handle: Function<types::Prompt>,
    pub(crate) lifecycle: Option<Lifecycle<TypedFunc<(), ()>>>,
    pub(crate) ring: Option<Function<Ringing>>,
}

/// The lifecycle's two calls.
#[derive(Clone, Copy)]
pub(crate) struct Lifecycle<F> {
    pub(crate) wake: F,
    pub(crate) sleep: F,
}

impl Exports {
    /// Looks through a component. An error says where it does not keep to the contract.
    pub(crate) fn of(component: &Component, pre: &InstancePre<State>) -> wasmtime::Result<Self> {
        check(pre)?;
        let handle = find(component, HANDLER, "handle")?;
        let lifecycle = match component.get_export_index(None, LIFECYCLE) {
            None => None,
            Some(_) => {
                LifecyclePre::new(pre.clone())?;
                let wake = find(component, LIFECYCLE, "wake")?;
                Some(Lifecycle { wake, sleep: find(component, LIFECYCLE, "sleep")? })
            }
        };
        let ring = match component.get_export_index(None, ALARM) {
            None => None,
            Some(_) => {
                AlarmPre::new(pre.clone())?;
                Some(find(component, ALARM, "ring")?)
            }
        };
        Ok(Self { handle, lifecycle, ring })
    }

    /// Whether there is something that alarms can ring.
    pub(crate) fn rings(&self) -> bool {
        self.ring.is_some()
    }

    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Calls> {
        let handle = instance.get_typed_func(&mut *store, self.handle)?;
        let lifecycle = match self.lifecycle {
            None => None,
            Some(Lifecycle { wake, sleep }) => Some(Lifecycle {
                wake: instance.get_typed_func(&mut *store, wake)?,
                sleep: instance.get_typed_func(&mut *store, sleep)?,
            }),
        };
        let ring = self.ring.map(|ring| instance.get_typed_func(&mut *store, ring)).transpose()?;
        Ok(Calls { handle, lifecycle, ring })
    }
}

fn find(component: &Component, interface: &str, function: &str) -> wasmtime::Result<ComponentExportIndex> {
    let interface_index = component.get_export_index(None, interface);
    let index = interface_index.and_then(|index| component.get_export_index(Some(&index), function));
    index.ok_or_else(|| wasmtime::format_err!("it exports no `{function}` in `{interface}`"))
}
