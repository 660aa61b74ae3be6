//! The demo: a small cluster of namespaces in which requests are spread, a pod is drained, and the
//! agent is killed, with the counts of a client as the only witness.

mod screen;
mod summary;
mod traffic;

use std::{
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use screen::Screen;
use summary::Summary;
use traffic::Traffic;

use crate::lab::{Lab, Options as LabOptions, Running, Topology, cleanup};

/// Show a cluster of two nodes: requests balanced, a pod drained, the agent killed.
#[derive(Clone, Copy, Debug, clap::Parser)]
pub struct Options {
    /// Leave the cluster up and say how to look around
    #[arg(long)]
    keep: bool,
    /// Remove a cluster that was kept, and do nothing else
    #[arg(long, conflicts_with = "keep")]
    down: bool,
}

const WEB: [(&str, u8); 3] = [("web-1", 1), ("web-2", 2), ("web-3", 2)];
const SERVICE: &str =
    "service default/web 10.96.0.10,fd00:96::10 http:80/tcp->8080 echo:80/udp->8080 app=web";
const LABELS: &str = "app=web";
const PORT: u16 = 8080;
const DRAINED: &str = "web-2";
/// Where the client is, and so the agent that matters to it.
const CLIENT_NODE: u8 = 1;

/// The lab and what runs in it.
struct Demo {
    lab: Lab,
    servers: Vec<Running>,
    traffic: Traffic,
    screen: Screen,
    summary: Summary,
}

pub fn main(options: &Options) -> Result<()> {
    if options.down {
        return cleanup::remove_kept();
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "the demo makes network namespaces and loads programs: run it as root"
    );
    let started = Instant::now();
    let mut demo = Demo::set_up(started)?;
    demo.play()?;
    demo.finish(options.keep, started)
}

// === impl Demo ===

impl Demo {
    fn set_up(started: Instant) -> Result<Self> {
        let mut screen = Screen::new();
        screen.say("making two nodes, a client and three web pods out of network namespaces");
        let mut lab = Lab::new(LabOptions::new(Topology::Ptp, 2))?;
        let client = lab.add_pod(CLIENT_NODE, "client", "")?;
        let mut servers = Vec::new();
        for (name, node) in WEB {
            servers.push(lab.add_pod(node, name, LABELS)?.serve_port(PORT)?);
        }
        lab.set(SERVICE)?;
        screen.say("starting an agent on each node; it reads a folder of YAML");
        lab.start()?;
        screen.say(&format!(
            "ready after {:.1} s",
            started.elapsed().as_secs_f64()
        ));
        let traffic = Traffic::start(&client)?;
        Ok(Self {
            lab,
            servers,
            traffic,
            screen,
            summary: Summary::default(),
        })
    }

    fn play(&mut self) -> Result<()> {
        self.show("requests are spread over the pods", Duration::from_secs(4))?;
        self.summary.shares = self.traffic.shares();

        let labels = format!("{LABELS} unready");
        self.summary.drain = self.change_pod(&labels)?;
        self.traffic.mark()?;
        self.show(&format!("{DRAINED} is drained"), Duration::from_secs(4))?;
        let late = self.traffic.answers_of(DRAINED);
        ensure!(
            late == 0,
            "{DRAINED} answered {late} new requests after it was drained"
        );

        self.summary.back = self.change_pod(LABELS)?;
        self.show(&format!("{DRAINED} is back"), Duration::from_secs(3))?;

        self.traffic.mark()?;
        let agent = self.lab.agent_mut(CLIENT_NODE);
        agent.kill()?;
        self.show(
            "the agent is killed with SIGKILL; nobody notices",
            Duration::from_secs(3),
        )?;
        self.summary.while_down = self.traffic.answered();
        let restarted = Instant::now();
        let status = self.lab.agent_mut(CLIENT_NODE).start()?;
        self.summary.restart = restarted.elapsed();
        self.summary.writes = status.writes_total;
        self.show("the agent is started again", Duration::from_secs(2))
    }

    fn finish(mut self, keep: bool, started: Instant) -> Result<()> {
        let totals = self.traffic.finish()?;
        self.screen.clear();
        self.screen.print(&self.summary.render(&totals))?;
        if keep {
            self.screen.print(&look_around(&self.lab)?)?;
            self.servers.iter_mut().for_each(Running::leave);
            self.lab.keep()?;
        } else {
            drop(self.lab);
            let seconds = started.elapsed().as_secs_f64();
            self.screen
                .say(&format!("all removed again; {seconds:.0} s in total"));
        }
        let lost = totals
            .iter()
            .map(|total| total.tally.sent - total.tally.answered)
            .sum::<u64>();
        ensure!(lost == 0, "{lost} requests were lost");
        Ok(())
    }

    /// Rewrites the drained pod's object; how long it took until the agents had applied it.
    fn change_pod(&mut self, words: &str) -> Result<Duration> {
        let started = Instant::now();
        self.lab.set_pod(DRAINED, words)?;
        self.lab.publish()?;
        Ok(started.elapsed())
    }

    /// Shows what happens for a while.
    fn show(&mut self, headline: &str, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        self.traffic.mark()?;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(200));
            self.screen.draw(headline, &self.traffic.table(&WEB))?;
        }
        self.screen.settle(headline, &self.traffic.table(&WEB))
    }
}

fn look_around(lab: &Lab) -> Result<String> {
    let agent = lab.agent(CLIENT_NODE);
    let program = crate::lab::binary("switchboard")?;
    let places = format!(
        "--run-dir {} --pin-dir {}",
        agent.run_dir().display(),
        agent.pin_dir().display()
    );
    let namespace = lab.pod("client").netns();
    let folder = lab.manifests();
    let program = program.to_str().context("the build folder is no text")?;
    Ok(format!(
        "the cluster stays up; look around:\n  \
           {program} status {places}\n  \
           {program} service list -A {places}\n  \
           {program} dump {places}\n  \
           ip netns exec {namespace} bash\n  \
           ls {}\nremove it: cargo xtask demo --down\n",
        folder.display()
    ))
}

fn write_out(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
