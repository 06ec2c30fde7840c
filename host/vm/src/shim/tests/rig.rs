//! A shim on a bench.

use crate::control::{self, Disk, Order, Report};
use crate::shim::agent::Agent;
use crate::shim::console::Tail;
use crate::shim::disks::Disks;
use crate::shim::entry::Running;
use crate::shim::findings::Fact;
use crate::shim::life::Life;
use crate::shim::roster::Roster;
use crate::shim::supervisor::{Children, Limits};
use crate::shim::vmm_link::Vmm;
use crate::shim::{AgentNews, Shim, VmmNews, server};
use hull_platform::process::Spawn;
use hull_platform::socket::LocalStream;
use hull_protocol::agent::{
    AgentError, Answer, ErrorCode, Event, Extent, GuestFrame, Hello, HostFrame, Outcome, ProcessRef, Request as Ask,
    StartContainer, Stdio, Welcome,
};
use hull_protocol::session::{self, Ended, Kind};
use hull_protocol::shim::{Attach, Call, ContainerPlan, ExecPlan, Reply, Request, VERSION};
use hull_protocol::{ContainerId, ExecId, Port, frame};
use hull_state::{ContainerDir, ContainerState, Lifetime, StateRoot};
use oci_spec::runtime::{Process, Spec};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// No test waits longer for anything that should happen.
pub const LONG: Duration = Duration::from_secs(20);

pub const LIMITS: Limits =
    Limits { boot: LONG, first_container: LONG, settle: Duration::from_millis(200), dying: LONG };

/// A shim, its guest and its vmm.
pub struct Rig {
    pub shim: Arc<Shim>,
    pub vmm: FakeVmm,
    /// The guest's end of the control connection; `None` once the guest has died.
    pub guest: Option<LocalStream>,
    pub pids: Vec<u32>,
    pub tail: Tail,
    supervisor: Option<JoinHandle<()>>,
    turned_away: Mutex<VecDeque<LocalStream>>,
    root: tempfile::TempDir,
}

/// What a rig is to be like.
pub struct Setting {
    pub lifetime: Lifetime,
    pub idle_timeout: Option<Duration>,
    pub limits: Limits,
    /// Real processes to supervise, by their roles.
    pub children: &'static [&'static str],
}

pub const OWN: Setting =
    Setting { lifetime: Lifetime::WithContainer, idle_timeout: None, limits: LIMITS, children: &[] };
pub const NAMED: Setting = Setting { lifetime: Lifetime::Named, ..OWN };

impl Rig {
    /// A shim whose guest has not said a word.
    pub fn silent(setting: Setting) -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = StateRoot::open(root.path()).unwrap();
        let vm_dir = state.create_vm(&super::record::vm(setting.lifetime)).unwrap();
        let (facts, news) = channel();
        let (vmm_here, vmm_there) = LocalStream::pair().unwrap();
        let (agent_here, guest) = LocalStream::pair().unwrap();
        let (life, roster) = (Life::new(), Arc::new(Roster::default()));
        let agent_news = AgentNews { life: Arc::clone(&life), roster: Arc::clone(&roster), facts: facts.clone() };
        let vmm_news = VmmNews { life: Arc::clone(&life), facts: facts.clone() };
        let shim = Arc::new(Shim {
            state,
            vm: vm_dir,
            own: setting.lifetime == Lifetime::WithContainer,
            only: OnceLock::new(),
            idle_timeout: setting.idle_timeout,
            children: Vec::new(),
            life,
            facts: facts.clone(),
            roster,
            agent: Agent::start(agent_here, "vm".into(), Arc::new(agent_news)).unwrap(),
            vmm: Vmm::start(vmm_here, vmm_news).unwrap(),
            disks: Disks::default(),
            connections: Arc::default(),
        });
        facts.send(Fact::ConsoleEnded).unwrap();
        let tail = Tail::default();
        let (supervisor, pids) = supervise(&shim, (facts, news), tail.clone(), setting);
        let vmm = FakeVmm::start(vmm_there);
        Self {
            shim,
            vmm,
            guest: Some(guest),
            pids,
            tail,
            supervisor: Some(supervisor),
            turned_away: Mutex::default(),
            root,
        }
    }

    /// A shim whose guest is up.
    pub fn up(setting: Setting) -> Self {
        let rig = Self::silent(setting);
        rig.hello();
        rig
    }

    pub fn hello(&self) {
        self.say(&Hello { version: hull_protocol::agent::VERSION, kernel: "6.12-test".into(), uptime_ns: 1 });
        let welcome: Welcome = frame::read(&mut self.guest()).unwrap().unwrap();
        assert_eq!((welcome.version, welcome.hostname.as_str()), (hull_protocol::agent::VERSION, "vm"));
    }

    pub fn guest(&self) -> &LocalStream {
        self.guest.as_ref().expect("the guest lives")
    }

    pub fn say(&self, message: &impl Serialize) {
        frame::write(&mut self.guest(), message).unwrap();
    }

    /// The next request that reaches the guest.
    pub fn asked(&self) -> (u64, Ask) {
        let frame: HostFrame = frame::read(&mut self.guest()).unwrap().expect("a request");
        (frame.id, frame.request)
    }

    pub fn answer(&self, id: u64, result: Result<Outcome, AgentError>) {
        self.say(&GuestFrame::Answer(Answer { id, result }));
    }

    /// Answers the next request, which must be of this kind, with `Done`.
    pub fn done(&self, expected: impl Fn(&Ask) -> bool) -> Ask {
        let (id, request) = self.asked();
        assert!(expected(&request), "{request:?}");
        self.answer(id, Ok(Outcome::Done));
        request
    }

    pub fn exited(&self, process: ProcessRef, code: u8) {
        self.say(&GuestFrame::Event(Event::Exited { process, code, oom_killed: false }));
    }

    /// Takes the request to start a container and says that it runs; the guest's ends of its streams.
    pub fn run_container(&self) -> (StartContainer, Streams) {
        let (id, request) = self.asked();
        let Ask::Start(start) = request else { panic!("{request:?}") };
        let streams = self.dial(&start.stdio);
        self.answer(id, Ok(Outcome::Started { pid: 42 }));
        (*start, streams)
    }

    /// Refuses the next request.
    pub fn refuse(&self, code: ErrorCode, message: &str) {
        let (id, _) = self.asked();
        self.answer(id, Err(AgentError { code, message: message.into() }));
    }

    pub fn dial(&self, stdio: &Stdio) -> Streams {
        match *stdio {
            Stdio::Pipes { stdin, stdout, stderr } => Streams {
                stdin: stdin.map(|port| self.vmm.dial(port)),
                stdout: stdout.map(|port| self.vmm.dial(port)),
                stderr: stderr.map(|port| self.vmm.dial(port)),
            },
            Stdio::Terminal { port, .. } => Streams { stdin: None, stdout: Some(self.vmm.dial(port)), stderr: None },
        }
    }

    /// A connection of a client that has sent this request.
    pub fn client(&self, request: Request) -> Client {
        let client = self.connect();
        frame::write(&mut &client.0, &Call { version: VERSION, request }).unwrap();
        client
    }

    /// A connection on which nothing has been said.
    pub fn connect(&self) -> Client {
        let (here, there) = LocalStream::pair().unwrap();
        server::accept(&self.shim, there, &mut self.turned_away.lock().unwrap());
        Client(here)
    }

    pub fn ask(&self, request: Request) -> Reply {
        self.client(request).reply()
    }

    /// A container's directory with its files, and the plan for it.
    pub fn container(&self, number: u8) -> (ContainerDir, ContainerPlan) {
        let id = ContainerId::from_bytes([number; 32]);
        let dir = self.shim.state.create_container(&super::record::container(&id)).unwrap();
        let image = [("rootfs.erofs", 8192), ("layer", 4096)].map(|(name, length)| {
            let path = self.root.path().join(name);
            fs::write(&path, vec![0; length]).unwrap();
            path
        });
        fs::write(dir.data_path(), [0; 4096]).unwrap();
        let plan = ContainerPlan {
            container: id,
            spec: Spec::default(),
            user: String::new(),
            init: false,
            tty: false,
            open_stdin: false,
            stdin_once: false,
            image: image.into(),
            stop_signal: 15,
            stop_timeout_seconds: 10,
            auto_remove: false,
        };
        (dir, plan)
    }

    /// The guest dies without a word.
    pub fn guest_dies(&mut self) {
        self.guest = None;
    }

    /// Waits until the shim has done everything that it does before it exits.
    pub fn join(&mut self) {
        self.supervisor.take().expect("joined once").join().unwrap();
    }

    pub fn vm_is_there(&self) -> bool {
        self.shim.vm.path().exists()
    }
}

fn supervise(
    shim: &Arc<Shim>,
    (facts, news): (Sender<Fact>, Receiver<Fact>),
    tail: Tail,
    setting: Setting,
) -> (JoinHandle<()>, Vec<u32>) {
    let shim = Arc::clone(shim);
    let mut children = Children::default();
    for role in setting.children {
        children.add(role, Spawn::new("sleep").arg("1000").spawn().unwrap(), None, &facts).unwrap();
    }
    let pids = children.ids().map(|(_, pid)| pid).collect();
    let running = Running { shim, children, news, tail, lifetime: setting.lifetime };
    (std::thread::spawn(move || running.until_gone(&setting.limits, None)), pids)
}

/// The guest's ends of a process's streams.
pub struct Streams {
    pub stdin: Option<LocalStream>,
    pub stdout: Option<LocalStream>,
    pub stderr: Option<LocalStream>,
}

/// A vmm that obeys and remembers.
#[derive(Clone, Default)]
pub struct FakeVmm(Arc<(Mutex<Memory>, Condvar)>);

#[derive(Default)]
struct Memory {
    expected: HashMap<u32, LocalStream>,
    mapped: Vec<(Disk, Extent)>,
    control: Option<LocalStream>,
}

impl FakeVmm {
    fn start(control: LocalStream) -> Self {
        let vmm = Self::default();
        vmm.0.0.lock().unwrap().control = Some(control.try_clone().unwrap());
        let serving = vmm.clone();
        std::thread::spawn(move || {
            while let Ok(Some((order, handles))) = control::receive::<Order>(&control) {
                serving.obey(order, handles);
                if control::send(&control, &Report::Answer(Ok(())), &[]).is_err() {
                    break;
                }
            }
        });
        vmm
    }

    fn obey(&self, order: Order, handles: Vec<hull_platform::handle::Handle>) {
        let mut memory = self.0.0.lock().unwrap();
        match order {
            Order::Map { disk, extent } => {
                assert_eq!(handles.len(), 1);
                memory.mapped.push((disk, extent));
            }
            Order::Unmap { disk, extent } => memory.mapped.retain(|mapped| *mapped != (disk, extent)),
            Order::Expect { port } => {
                let stream = handles.into_iter().next().expect("a stream").into();
                memory.expected.insert(port.0, stream);
            }
            Order::Cancel { port } => drop(memory.expected.remove(&port.0)),
            Order::Launch { .. } => {}
        }
        self.0.1.notify_all();
    }

    /// The guest's end of the connection that it makes to this port.
    pub fn dial(&self, port: Port) -> LocalStream {
        self.0.0.lock().unwrap().expected.remove(&port.0).expect("an expected port")
    }

    pub fn mapped(&self) -> Vec<(Disk, Extent)> {
        self.0.0.lock().unwrap().mapped.clone()
    }

    pub fn expected(&self) -> usize {
        self.0.0.lock().unwrap().expected.len()
    }

    /// Says something on the control connection.
    pub fn say(&self, report: &impl Serialize) {
        control::send(self.0.0.lock().unwrap().control.as_ref().unwrap(), report, &[]).unwrap();
    }

    pub fn say_raw(&self, wire: &[u8]) {
        std::io::Write::write_all(&mut self.0.0.lock().unwrap().control.as_ref().unwrap(), wire).unwrap();
    }

    /// Everything of it goes, as when it is killed.
    pub fn dies(&self) {
        let mut memory = self.0.0.lock().unwrap();
        memory.expected.clear();
        memory.control.take().unwrap().shutdown(std::net::Shutdown::Both).unwrap();
    }
}

/// A client's end of a connection.
pub struct Client(pub LocalStream);

impl Client {
    pub fn reply(&self) -> Reply {
        self.0.set_read_timeout(Some(LONG)).unwrap();
        frame::read(&mut &self.0).unwrap().expect("a reply")
    }

    pub fn started(&self) {
        assert_eq!(self.reply(), Reply::Started { pid: 42 });
    }

    pub fn input(&self, bytes: &[u8]) {
        session::write(&mut &self.0, Kind::Stdin, bytes).unwrap();
    }

    /// Everything until the end of the session.
    pub fn session(&self) -> Seen {
        self.0.set_read_timeout(Some(LONG)).unwrap();
        let (mut payload, mut seen) = (Vec::new(), Seen::default());
        while seen.ended.is_none() {
            // A reset is an end too, when the shim left something unread.
            let kind = match session::read(&mut &self.0, &mut payload) {
                Ok(Some(kind)) => kind,
                Ok(None) => break,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            };
            match kind {
                Kind::Stdout => seen.stdout.extend_from_slice(&payload),
                Kind::Stderr => seen.stderr.extend_from_slice(&payload),
                Kind::Ended => seen.ended = Some(serde_json::from_slice(&payload).unwrap()),
                Kind::Stdin => panic!("{kind:?}"),
            }
        }
        seen
    }
}

/// What a client saw of a session.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub ended: Option<Ended>,
}

impl Seen {
    pub fn code(&self) -> u8 {
        self.ended.as_ref().expect("an end").code
    }

    pub fn reason(&self) -> &str {
        self.ended.as_ref().and_then(|ended| ended.reason.as_deref()).unwrap_or("")
    }
}

pub const ATTACH: Attach = Attach { stdin: true, stdout: true, stderr: true, size: None };

pub fn first(container: &ContainerId) -> ProcessRef {
    ProcessRef { container: container.clone(), exec: None }
}

pub fn exec_plan(container: &ContainerId, number: u8) -> ExecPlan {
    ExecPlan {
        container: container.clone(),
        exec: ExecId::from_bytes([number; 32]),
        process: Process::default(),
        user: String::new(),
        open_stdin: false,
    }
}

pub fn exec_ref(plan: &ExecPlan) -> ProcessRef {
    ProcessRef { container: plan.container.clone(), exec: Some(plan.exec.clone()) }
}

pub fn state(dir: &ContainerDir) -> ContainerState {
    dir.state().unwrap()
}
