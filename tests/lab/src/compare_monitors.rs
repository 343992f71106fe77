//! What a look at the active node costs: standin's monitor action against those of the four agents that it takes the place
//! of, on the same node in the same state, under a stock Pacemaker.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterOptions, binary};
use crate::lab::{Lab, LabOptions};
use crate::managers::StockPacemaker;
use crate::node::Node;
use crate::scenario::{Play, directory_of};

/// standin uses so little that a clock of hundredths of a second needs more calls.
const MORE_CALLS: u32 = 10;
/// At most so much of the processor time of the four.
const GOAL: f64 = 0.1;

const COMMON: &str = "OCF_ROOT=/usr/lib/ocf OCF_RA_VERSION_MAJOR=1 OCF_RA_VERSION_MINOR=1 \
    OCF_RESKEY_crm_feature_set=3.16.2 OCF_RESKEY_CRM_meta_name=monitor OCF_RESKEY_CRM_meta_interval=10000 \
    OCF_RESKEY_CRM_meta_timeout=20000";

/// An agent with what its monitor action is given, and what it answers on the active node.
struct Agent {
    name: &'static str,
    path: &'static str,
    environment: &'static str,
    code: i32,
}

const STOCK: [Agent; 4] = [
    Agent {
        name: "drbd",
        path: "/usr/lib/ocf/resource.d/linbit/drbd",
        environment: "OCF_RESOURCE_INSTANCE=drbd:0 OCF_RESOURCE_PROVIDER=linbit OCF_RESOURCE_TYPE=drbd \
            OCF_RESKEY_drbd_resource=r0 OCF_RESKEY_CRM_meta_clone=0 OCF_RESKEY_CRM_meta_clone_max=2 \
            OCF_RESKEY_CRM_meta_clone_node_max=1 OCF_RESKEY_CRM_meta_master_max=1 \
            OCF_RESKEY_CRM_meta_master_node_max=1 OCF_RESKEY_CRM_meta_promoted_max=1 \
            OCF_RESKEY_CRM_meta_promoted_node_max=1 OCF_RESKEY_CRM_meta_notify=true \
            OCF_RESKEY_CRM_meta_role=Promoted",
        code: 8,
    },
    Agent {
        name: "Filesystem",
        path: "/usr/lib/ocf/resource.d/heartbeat/Filesystem",
        environment: "OCF_RESOURCE_INSTANCE=filesystem OCF_RESOURCE_PROVIDER=heartbeat OCF_RESOURCE_TYPE=Filesystem \
            OCF_RESKEY_device=/dev/drbd0 OCF_RESKEY_directory=/var/lib/mysql OCF_RESKEY_fstype=ext4",
        code: 0,
    },
    Agent {
        name: "mysql",
        path: "/usr/lib/ocf/resource.d/heartbeat/mysql",
        environment: "OCF_RESOURCE_INSTANCE=database OCF_RESOURCE_PROVIDER=heartbeat OCF_RESOURCE_TYPE=mysql \
            OCF_RESKEY_binary=/usr/bin/mysqld_safe OCF_RESKEY_config=/etc/mysql/my.cnf \
            OCF_RESKEY_datadir=/var/lib/mysql OCF_RESKEY_log=/var/log/mysql/error.log \
            OCF_RESKEY_pid=/run/mysqld/mysqld.pid OCF_RESKEY_socket=/run/mysqld/mysqld.sock",
        code: 0,
    },
    Agent {
        name: "IPaddr2",
        path: "/usr/lib/ocf/resource.d/heartbeat/IPaddr2",
        environment: "OCF_RESOURCE_INSTANCE=address OCF_RESOURCE_PROVIDER=heartbeat OCF_RESOURCE_TYPE=IPaddr2 \
            OCF_RESKEY_ip=10.77.0.100 OCF_RESKEY_cidr_netmask=24 OCF_RESKEY_nic=eth0",
        code: 0,
    },
];

const STANDIN: Agent = Agent {
    name: "standin",
    path: "/usr/lib/ocf/resource.d/standin/innodb",
    environment: "OCF_RESOURCE_INSTANCE=db OCF_RESOURCE_PROVIDER=standin OCF_RESOURCE_TYPE=innodb OCF_RESKEY_config=r0",
    code: 0,
};

/// The mean of some calls.
struct Cost {
    name: &'static str,
    calls: u32,
    /// Milliseconds of processor time.
    processor: f64,
    /// Milliseconds from the start to the end.
    passed: f64,
    /// Including the agent itself.
    processes: usize,
}

/// Measures so many calls of each, and prints a table.
pub fn compare(calls: u32) -> Result<()> {
    let lab = Lab::start(LabOptions::default())?;
    let options = ClusterOptions { more: vec!["cluster_manager: pacemaker"], ..ClusterOptions::default() };
    let cluster = Cluster::install(&lab, &options)?;
    let mut play = Play::begin_in(directory_of("compare-monitors"), &lab, &cluster, &StockPacemaker)?;
    let measured = play.start().and_then(|()| {
        let node = play.active()?;
        // Its own calls would come between ours; the client would take the processors.
        node.run_ok("crm_attribute --name maintenance-mode --update true")?;
        play.stop_client()?;
        node.copy_in(binary("lab-cost")?, "/usr/local/sbin/lab-cost", 0o755)?;
        let stock = STOCK.iter().map(|agent| cost(node, agent, calls)).collect::<Result<Vec<_>>>()?;
        Ok((stock, cost(node, &STANDIN, calls * MORE_CALLS)?))
    });
    match measured {
        Ok((stock, standin)) => {
            play.finish(Ok(()))?;
            report(&stock, &standin)
        }
        Err(error) => play.finish(Err(error)).map(drop),
    }
}

fn cost(node: &Node, agent: &Agent, calls: u32) -> Result<Cost> {
    let Agent { name, path, environment, code } = agent;
    let with = format!("env {COMMON} {environment}");
    let text = node.run_ok(&format!("{with} lab-cost --times {calls} -- {path} monitor"))?;
    let rows: Vec<Vec<f64>> = text
        .lines()
        .map(|line| line.split(' ').map(|word| Ok(word.parse()?)).collect::<Result<_>>())
        .collect::<Result<_>>()?;
    let codes: Vec<i32> = rows.iter().filter_map(|row| Some(*row.first()? as i32)).collect();
    ensure!(
        codes.len() == calls as usize && codes.iter().all(|seen| seen == code),
        "{name} monitor answered {codes:?} on the active node, not {code}"
    );
    let mean = |column: usize| -> f64 {
        rows.iter().filter_map(|row| row.get(column)).sum::<f64>() / f64::from(calls) / 1000.0
    };
    // A call of its own: strace takes time. A thread is no process.
    node.run(&format!(
        "{with} strace -f -qq -e trace=clone,clone3,fork,vfork -o /run/lab-cost.strace {path} monitor > /dev/null 2>&1"
    ))?;
    let trace = node.run_ok("cat /run/lab-cost.strace")?;
    let calls_of = |line: &str| ["clone(", "clone3(", "fork("].iter().any(|call| line.contains(call));
    let forks = trace.lines().filter(|line| calls_of(line) && !line.contains("CLONE_THREAD")).count();
    Ok(Cost { name, calls, processor: mean(1), passed: mean(2), processes: forks + 1 })
}

fn report(stock: &[Cost], standin: &Cost) -> Result<()> {
    println!("\nmonitor action   calls   CPU ms per call   ms per call   processes per call");
    let line = |name: &str, calls: u32, processor: f64, passed: f64, processes: usize| {
        println!("{name:15}  {calls:5}   {processor:15.1}   {passed:11.1}   {processes:18}");
    };
    for cost in stock.iter().chain([standin]) {
        line(cost.name, cost.calls, cost.processor, cost.passed, cost.processes);
    }
    let sum = |value: fn(&Cost) -> f64| stock.iter().map(value).sum::<f64>();
    let processor = sum(|cost| cost.processor);
    let processes: usize = stock.iter().map(|cost| cost.processes).sum();
    let calls = stock.first().context("no agent was measured")?.calls;
    line("the four", calls, processor, sum(|cost| cost.passed), processes);
    let ratio = standin.processor / processor;
    println!("standin uses {ratio:.3} of the processor time of the four; the goal is at most {GOAL}");

    let one = |cost: &Cost| -> Value {
        json!({
            "agent": cost.name, "calls": cost.calls, "cpu_ms": cost.processor, "ms": cost.passed,
            "processes": cost.processes,
        })
    };
    let agents: Vec<Value> = stock.iter().chain([standin]).map(one).collect();
    let path = directory_of("compare-monitors.json");
    fs::write(&path, format!("{:#}\n", json!({ "agents": agents, "cpu_ratio": ratio, "goal": GOAL })))?;
    println!("written to {}", path.display());
    Ok(())
}
