//! The whole shim but for its processes: a test plays the guest's agent, a thread plays the vmm, clients come over socket
//! pairs. No VM runs here.

mod hostile;
mod lifecycle;
mod named;
mod record;
mod rig;
mod streams;
