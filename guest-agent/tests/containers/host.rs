//! The host's side: it waits for the agent, asks, and listens.

use crate::agent_process::VARIABLES;
use crate::assets::Assets;
use crate::spec::{Document, new_container, new_exec, reference};
use hull_protocol::agent::{
    AgentError, Answer, CONTROL_PORT, Event, ExecProcess, GuestFrame, Hello, HostFrame, Outcome, ProcessRef, Request,
    ResizeTerminal, RootDisk, SignalProcess, StartContainer, Stdio, TerminalSize, VERSION, WallClock, Welcome,
};
use hull_protocol::{ContainerId, Port, frame};
use oci_spec::runtime::Process;
use std::collections::VecDeque;
use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio as ProcessStdio};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent, and the host's end of its control connection.
pub(crate) struct Vm {
    pub(crate) assets: Assets,
    sockets: TempDir,
    agent: Child,
    pub(crate) control: UnixStream,
    events: VecDeque<Event>,
    requests: u64,
    ports: u32,
}

/// The host's ends of a process's pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: UnixStream,
    pub(crate) stdout: UnixStream,
    pub(crate) stderr: UnixStream,
}

/// A process that runs.
pub(crate) struct Running<Streams> {
    pub(crate) name: ProcessRef,
    pub(crate) pid: u32,
    pub(crate) streams: Streams,
}

/// How a process ended, and what it said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) oom_killed: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What is asked besides the document.
pub(crate) struct Options {
    pub(crate) container: ContainerId,
    pub(crate) root: RootDisk,
    pub(crate) user: String,
    pub(crate) init: bool,
}

impl Vm {
    pub(crate) fn boot(assets: &Assets) -> Self {
        let sockets = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(sockets.path().join(CONTROL_PORT.0.to_string())).unwrap();
        let [sockets_variable, disks, cgroups] = VARIABLES;
        let agent = Command::new(std::env::current_exe().unwrap())
            .env(sockets_variable, sockets.path())
            .env(disks, &assets.directory)
            .env(cgroups, &assets.cgroups)
            .stdin(ProcessStdio::null())
            .stdout(ProcessStdio::piped())
            .spawn()
            .unwrap();
        let mut control = accept(&listener);
        let hello: Hello = frame::read(&mut control).unwrap().unwrap();
        assert_eq!(hello.version, VERSION);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = WallClock { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() };
        frame::write(&mut control, &Welcome { version: VERSION, time, hostname: "vm".to_owned() }).unwrap();
        Self { assets: assets.clone(), sockets, agent, control, events: VecDeque::new(), requests: 0, ports: 5000 }
    }

    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.id()
    }

    /// How the agent ended, which it does now.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.agent.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        (self.agent.wait().unwrap(), said)
    }

    pub(crate) fn ask(&mut self, request: Request) -> u64 {
        self.requests += 1;
        frame::write(&mut self.control, &HostFrame { id: self.requests, request }).unwrap();
        self.requests
    }

    pub(crate) fn call(&mut self, request: Request) -> Result<Outcome, AgentError> {
        let id = self.ask(request);
        self.answer(id)
    }

    pub(crate) fn answer(&mut self, wanted: u64) -> Result<Outcome, AgentError> {
        loop {
            match self.next_frame() {
                GuestFrame::Answer(Answer { id, result }) => {
                    assert_eq!(id, wanted, "answers come in order here");
                    return result;
                }
                GuestFrame::Event(event) => self.events.push_back(event),
            }
        }
    }

    fn next_frame(&mut self) -> GuestFrame {
        frame::read(&mut self.control).expect("a frame").expect("no end of the connection")
    }

    pub(crate) fn next_event(&mut self) -> Event {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.next_frame() {
            GuestFrame::Event(event) => event,
            GuestFrame::Answer(answer) => panic!("{answer:?} though nothing was asked"),
        }
    }

    /// The code with which this process ends next, and whether memory was short.
    pub(crate) fn exited(&mut self, wanted: &ProcessRef) -> (u8, bool) {
        match self.next_event() {
            Event::Exited { process, code, oom_killed } if process == *wanted => (code, oom_killed),
            event => panic!("{event:?} in place of the end of {wanted:?}"),
        }
    }

    pub(crate) fn options(&self) -> Options {
        let root = RootDisk { image: self.assets.image_extent(), data: self.assets.new_data() };
        Options { container: new_container(), root, user: String::new(), init: false }
    }

    fn listen(&mut self) -> (Port, UnixListener) {
        self.ports += 1;
        let listener = UnixListener::bind(self.sockets.path().join(self.ports.to_string())).unwrap();
        (Port(self.ports), listener)
    }

    fn pipes(&mut self) -> (Stdio, [UnixListener; 3]) {
        let [(stdin, one), (stdout, two), (stderr, three)] = [(); 3].map(|()| self.listen());
        (Stdio::Pipes { stdin: Some(stdin), stdout: Some(stdout), stderr: Some(stderr) }, [one, two, three])
    }

    pub(crate) fn request_start(options: &Options, document: Document, stdio: Stdio) -> Request {
        let Options { container, root, user, init } = options;
        Request::Start(Box::new(StartContainer {
            discard: false,
            container: container.clone(),
            spec: document.build(),
            root: root.clone(),
            user: user.clone(),
            init: *init,
            stdio,
        }))
    }

    pub(crate) fn start(&mut self, options: &Options, document: Document) -> Running<Pipes> {
        let (stdio, listeners) = self.pipes();
        let outcome = self.call(Self::request_start(options, document, stdio));
        Running { name: first(&options.container), pid: pid(outcome), streams: Pipes::accept(&listeners) }
    }

    pub(crate) fn try_start(&mut self, options: &Options, document: Document) -> Result<Outcome, AgentError> {
        let (stdio, _listeners) = self.pipes();
        self.call(Self::request_start(options, document, stdio))
    }

    pub(crate) fn start_on_terminal(
        &mut self,
        options: &Options,
        document: Document,
        size: TerminalSize,
    ) -> Running<UnixStream> {
        let (port, listener) = self.listen();
        let outcome = self.call(Self::request_start(options, document, Stdio::Terminal { port, size }));
        Running { name: first(&options.container), pid: pid(outcome), streams: accept(&listener) }
    }

    fn request_exec(container: &ContainerId, spec: Process, user: &str, stdio: Stdio) -> (ProcessRef, Request) {
        let process = ProcessRef { container: container.clone(), exec: Some(new_exec()) };
        let exec = ExecProcess { process: process.clone(), spec, user: user.to_owned(), stdio };
        (process, Request::Exec(Box::new(exec)))
    }

    pub(crate) fn exec(&mut self, container: &ContainerId, spec: Process, user: &str) -> Running<Pipes> {
        let (stdio, listeners) = self.pipes();
        let (name, request) = Self::request_exec(container, spec, user, stdio);
        let pid = pid(self.call(request));
        Running { name, pid, streams: Pipes::accept(&listeners) }
    }

    pub(crate) fn exec_on_terminal(&mut self, container: &ContainerId, spec: Process) -> Running<UnixStream> {
        let (port, listener) = self.listen();
        let stdio = Stdio::Terminal { port, size: TerminalSize { rows: 7, columns: 9 } };
        let (name, request) = Self::request_exec(container, spec, "", stdio);
        let pid = pid(self.call(request));
        Running { name, pid, streams: accept(&listener) }
    }

    pub(crate) fn try_exec(
        &mut self,
        container: &ContainerId,
        spec: Process,
        user: &str,
    ) -> Result<Outcome, AgentError> {
        let (stdio, _listeners) = self.pipes();
        let (_, request) = Self::request_exec(container, spec, user, stdio);
        self.call(request)
    }

    /// Everything that a process says until its end; it gets no input.
    pub(crate) fn finish(&mut self, running: Running<Pipes>) -> Ended {
        let Pipes { stdin, stdout, stderr } = running.streams;
        drop(stdin);
        let stderr = std::thread::spawn(move || read_all(stderr));
        let stdout = read_all(stdout);
        let (code, oom_killed) = self.exited(&running.name);
        Ended { code, oom_killed, stdout, stderr: stderr.join().unwrap() }
    }

    /// Runs a container from its start to its removal.
    pub(crate) fn run(&mut self, options: &Options, document: Document) -> Ended {
        let running = self.start(options, document);
        let ended = self.finish(running);
        self.remove(&options.container);
        ended
    }

    pub(crate) fn remove(&mut self, container: &ContainerId) {
        assert_eq!(self.call(Request::Remove(reference(container))), Ok(Outcome::Done));
    }

    pub(crate) fn signal(&mut self, process: &ProcessRef, signal: u8) -> Result<Outcome, AgentError> {
        self.call(Request::Signal(SignalProcess { process: process.clone(), signal }))
    }

    pub(crate) fn resize(&mut self, process: &ProcessRef, rows: u16, columns: u16) -> Result<Outcome, AgentError> {
        let size = TerminalSize { rows, columns };
        self.call(Request::Resize(ResizeTerminal { process: process.clone(), size }))
    }

    /// Ends a container that would not end by itself, and removes it.
    pub(crate) fn kill_and_remove(&mut self, container: &ContainerId) {
        let first = first(container);
        assert_eq!(self.signal(&first, 9), Ok(Outcome::Done));
        loop {
            match self.next_event() {
                Event::Exited { process, code, .. } if process == first => break assert_eq!(code, 137),
                // Further processes end before it.
                Event::Exited { process, code: 137, .. } if process.container == *container => {}
                event => panic!("{event:?}"),
            }
        }
        self.remove(container);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _gone = self.agent.kill();
        let _gone = self.agent.wait();
    }
}

impl Pipes {
    fn accept([stdin, stdout, stderr]: &[UnixListener; 3]) -> Self {
        Self { stdin: accept(stdin), stdout: accept(stdout), stderr: accept(stderr) }
    }
}

fn accept(listener: &UnixListener) -> UnixStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn first(container: &ContainerId) -> ProcessRef {
    ProcessRef { container: container.clone(), exec: None }
}

fn pid(outcome: Result<Outcome, AgentError>) -> u32 {
    match outcome {
        Ok(Outcome::Started { pid }) => pid,
        outcome => panic!("not started: {outcome:?}"),
    }
}

/// What comes until the end; from a terminal, with its line ends.
pub(crate) fn read_all(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What comes until `mark` has come.
pub(crate) fn read_until(stream: &mut UnixStream, mark: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.contains(mark) {
        let count = stream.read(&mut byte).unwrap_or_else(|error| panic!("{error} after {text:?}"));
        assert!(count == 1, "the stream ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

/// The host will send no more.
pub(crate) fn end_input(stream: &UnixStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}
