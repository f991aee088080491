"use strict";

// The page requests /live.json once a second and draws it. Points are kept and requested once.
const seconds = 300;
const $ = id => document.getElementById(id);
let points = [], boot = 0, last = null, since = 0, hover = null;

// Formats of numbers. time and bytes return [digits, unit].
function time(ns) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (ns >= size * 0.9995) return [three(ns / size), unit];
  }
  return [String(Math.round(ns)), "ns"];
}
const three = v => v >= 99.95 ? String(Math.round(v)) : v >= 9.995 ? v.toFixed(1) : v.toFixed(2);
const whole = v => Math.round(v).toLocaleString("en-US");
function rate(v) {
  if (v >= 999950) return three(v / 1e6) + " M";
  if (v >= 99950) return three(v / 1e3) + " k";
  return v > 0 && v < 9.95 ? v.toFixed(1) : whole(v);
}
function bytes(v) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 1024]]) {
    if (v >= size) return [three(v / size), unit];
  }
  return [String(Math.round(v)), "B"];
}
const percent = v => v > 0 && v < 0.01 ? "<1 %" : Math.round(100 * v) + " %";
function span(s) {
  s = Math.max(s, 0);
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 120) return Math.round(s) + " s";
  if (s < 7200) return Math.floor(s / 60) + " min";
  return s < 172800 ? Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min" : Math.floor(s / 86400) + " d";
}
const plural = (n, one) => whole(n) + " " + one + (n === 1 ? "" : "s");
// short keeps the ends of a long address, in which addresses differ.
const short = s => s.length > 22 ? s.slice(0, 6) + "…" + s.slice(-12) : s;

// Elements. Text goes through textContent, so that a client's name is never markup.
function text(id, value) { const e = typeof id === "string" ? $(id) : id; if (e.textContent !== value) e.textContent = value; }
function make(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  e.append(...children);
  return e;
}
function draw(tag, attributes, content) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  if (content !== undefined) e.textContent = content;
  return e;
}
const united = ([digits, unit]) => [digits, make("small", {}, unit)];
function bar(share) {
  const s = make("span", {});
  s.style.width = share > 0 ? "max(1px, " + 100 * Math.min(share, 1) + "%)" : "0";
  return make("td", { class: "wide" }, s);
}
function rows(id, list) { document.querySelector("#" + id + " tbody").replaceChildren(...list); }

function node(id, value, unit, sub, is) {
  const n = $(id);
  text(n.querySelector("b"), value);
  text(n.querySelector("i"), unit);
  text(n.querySelector(".sub"), sub);
  n.querySelector(".sub").title = sub;
  if (is) n.dataset.is = is;
}
function pipe(id, depth, cap, say) {
  const p = $(id), share = cap > 0 ? depth / cap : 0, label = say(depth);
  p.querySelector("u").style.width = share > 0 ? "max(2px, " + 100 * Math.min(share, 1) + "%)" : "0";
  p.dataset.full = share > 0.8 ? "yes" : "no";
  text(p.querySelector("em"), label.length > 13 ? whole(depth) : label); // 13 characters fit between two boxes
  p.title = cap > 0 ? label + " of " + say(cap) + ", " + percent(share) + " full" : label;
}

function stalled(l) { return (l.shard < 0 ? l.actor : l.actor + " " + l.shard) + " stalled for " + span(l.silent_seconds); }

function header(s) {
  let state = s.state, say = s.state;
  if (state === "ready" && s.gate.wedged) { state = "wedged"; say = "gate shut for " + span(s.gate.seconds); }
  else if (state === "ready" && s.stalled.length) { state = "wedged"; say = stalled(s.stalled[0]); }
  else if (state === "ready" && s.degraded) { state = "degraded"; say = "degraded"; }
  document.body.dataset.state = state;
  text("state", say);
  text("policy", s.policy_name || s.policy);
  $("policy").title = (s.policy_name ? s.policy_name + ": " : "") + s.policy;
  text("engine", s.engine + (s.fallback ? " (fallback)" : ""));
  $("engine").title = s.note;
  text("clients", whole(s.clients));
  text("event", whole(s.sequenced));
  text("up", span(s.up));
  const open = s.open || [], at = $("open");
  at.hidden = !open.length;
  if (open.length) text(at.querySelector("dd"), at.title = open.join("; "));
  const t = s.tracing, of = $("tracing");
  of.hidden = !(t && t.left);
  if (!of.hidden) text(of.querySelector("dd"), of.title = "connection " + t.connection + ", " + plural(t.left, "response") + " left");
  member(s.cluster);
  document.title = "sluice · " + say;
  text("build", "sluice " + s.version + (s.host ? " on " + s.host : ""));
}

// memberState says what is known of one member of the cluster.
function memberState(c, x) {
  const known = [x.state, x.match != null && "event " + whole(x.match) + " on disk", x.lag > 0 && plural(x.lag, "event") + " behind",
    x.disk != null && "slowest write " + span(x.disk), x.link && x.link !== "up" && x.link];
  return "node " + x.node + (x.node === c.node ? " (this one): " : ": ") + known.filter(Boolean).join(", ");
}
// absent says whether a member takes no part.
function absent(x) { return x.state === "silent" || x.state === "unreachable"; }
function member(c) {
  const of = $("member");
  of.hidden = !c;
  if (!c) return;
  text(of.querySelector("dd"), "node " + c.node + " " + c.state + ", term " + c.term + (c.leader ? ", leader " + c.leader : "") + ", " + c.class);
  of.title = c.members.map(x => memberState(c, x)).join("\n");
}

function flow(s, p) {
  const q = s.queues, g = s.gate, size = v => bytes(v).join(" "), responses = n => plural(n, "response");
  node("n-readers", rate(p.requests), "requests/s", s.paused ? whole(s.paused) + " paused" : plural(s.clients, "client"));
  node("n-sequencer", rate(p.events), "events/s", "event " + whole(s.sequenced));
  const waits = g.waiting && g.seconds >= 0.05;
  node("n-gate", rate(p.released), "resp/s", g.wedged ? "shut for " + span(g.seconds) : waits ? "waiting " + span(g.seconds) : "open",
    g.wedged ? "wedged" : waits ? "waiting" : "open");
  node("n-encode", rate(p.encoded), "resp/s", "busy " + percent(s.busy.encode));
  node("n-egress", rate(p.responses), "resp/s", p.delivered > 0 ? rate(p.delivered) + " deliveries/s" : plural(s.shards.length, "shard"));
  const b = bytes(p.bytes);
  node("n-sockets", b[0], b[1] + "/s", s.blocked ? whole(s.blocked) + " blocked" : "none blocked");
  node("n-journal", rate(p.commits), "syncs/s", p.commits > 0 ? rate(p.events / p.commits) + " events each" : "event " + whole(s.persisted));
  pipe("q-requests", q.requests.depth, q.requests.cap, size);
  pipe("q-gate", q.gate.depth, q.gate.cap, responses);
  pipe("q-encode", q.encode.depth, q.encode.cap, responses);
  pipe("q-egress", q.egress.depth, q.egress.cap, size);
  pipe("q-sockets", q.buffered, 0, size);
  const behind = Math.max(s.sequenced - s.persisted, 0), w = $("word");
  const lag = behind ? plural(behind, "event") + " on the way to disk." : "Every event is on disk.", policy = s.policy.replace(/>=/g, " ≥ ");
  if (waits && g.why) w.replaceChildren(make("b", {}, "The gate " + g.why.replace(/>=/g, " ≥ ")), ". " + lag);
  else if (s.degraded) w.replaceChildren(make("b", {}, "Degraded"), ": the policy " + policy + " asks for more nodes than are in view.");
  else w.replaceChildren("A response passes the gate at ", make("b", {}, policy), ". " + lag);
  if (s.stalled.length) w.append(" Not working: " + s.stalled.map(stalled).join(", ") + ".");
  const c = s.cluster;
  if (c && !c.leader) w.append(" No node is known to lead for " + span(c.since) + ".");
  if (c && c.class === "exposed") w.append(" The policy is exposed: the loss of the leader can contradict a response.");
  if (c && c.members.some(absent)) w.append(" " + c.members.filter(absent).map(x => "Node " + x.node + " is " + x.state).join(", ") + ".");
  const gone = s.dropped.toSorted((a, b) => b.count - a.count).map(d => whole(d.count) + " " + d.reason.replace(/_/g, " "));
  w.title = gone.length > 3 ? "Dropped since start: " + gone.join(", ") : "";
  if (gone.length) w.append(" Dropped since start: " + gone.slice(0, 3).join(", ") + (gone.length > 3 ? " and for " + plural(gone.length - 3, "other reason") : "") + ".");
}

function stages(s) {
  const by = {};
  for (const x of s.stages) by[x.name] = x.latency;
  const scale = by.whole ? by.whole.mean : 1;
  const line = (name, label, kind) => {
    const l = by[name], first = make("td", {}, label);
    if (!l) return make("tr", { class: kind }, first, bar(0), ...[1, 2, 3, 4].map(() => make("td", { class: "off" }, "–")));
    const v = x => make("td", {}, ...united(time(x)));
    return make("tr", { class: kind }, first, bar(l.mean / scale), v(l.mean), v(l.p50), v(l.p99), v(l.p999));
  };
  rows("stages", [line("match", "match", ""), line("handoff", "hand-off", ""), line("gate", "gate", ""), line("journal_wait", "waits for journal", "part"),
    line("replica_wait", "waits for replicas", "part"), line("encode", "encode", ""), line("queue", "queue", ""), line("batch", "batch", ""),
    line("send", "send", ""), line("whole", "whole response", "whole")]);
  text("covers", by.whole ? "last " + s.seconds + " s, " + plural(by.whole.count, "response") : "last " + s.seconds + " s");
}

function shards(s) {
  const all = s.shards, most = Math.max(...all.map(x => x.responses)), sum = all.reduce((a, x) => a + x.responses, 0);
  text("balance", sum > 0 && all.length > 1 ? "busiest carries " + percent(most / sum) + ", even is " + percent(1 / all.length) : "");
  const twice = all.length > 6, half = twice ? Math.ceil(all.length / 2) : all.length;
  const columns = { // columns of the table; with many shards, two narrow tables are side by side
    "#": x => make("td", { title: "shard " + x.shard + ": " + plural(x.clients, "client") + ", " + whole(x.blocked) + " blocked, " + bytes(x.buffered).join(" ") + " unsent", class: twice && x.blocked ? "state-blocked" : "" }, String(x.shard)),
    "": x => bar(most > 0 ? x.responses / most : 0), "resp/s": x => make("td", {}, rate(x.responses)), clients: x => make("td", {}, whole(x.clients)),
    blocked: x => make("td", x.blocked ? { class: "state-blocked" } : {}, whole(x.blocked)), unsent: x => make("td", {}, ...united(bytes(x.buffered))),
    busy: x => make("td", {}, percent(x.busy)),
  };
  const names = Object.keys(columns).filter(k => !twice || !["clients", "blocked", "unsent"].includes(k));
  const cells = x => x ? names.map(k => columns[k](x)) : names.map(() => make("td", {}));
  const titles = names.map(k => [k ? {} : { class: "wide" }, k]), across = twice ? [...titles, ...titles] : titles;
  $("shards").className = twice ? "twice" : "";
  document.querySelector("#shards thead").replaceChildren(make("tr", {}, ...across.map(([a, k]) => make("th", a, k))));
  rows("shards", all.slice(0, half).map((x, i) => make("tr", {}, ...cells(x), ...(twice ? cells(all[half + i]) : []))));
}

function clients(s) {
  const most = s.ended.length ? 3 : 6; // rows that fit
  rows("slow", s.slow.slice(0, most).map(c => make("tr", {}, make("td", { title: c.from + ", connection " + c.id + ", shard " + c.shard + "; sluice admin trace " + c.id + " 100" }, short(c.from)), make("td", { class: "state-" + c.state }, c.state),
    make("td", c.behind ? { title: bytes(c.behind).join(" ") + " of topic frames, in no buffer of its own" } : {}, ...united(bytes(c.unsent + c.behind))), make("td", {}, c.lag > 0 ? span(c.lag) : "–"))));
  $("slow").hidden = !s.slow.length;
  text("slow-empty", s.slow.length ? "" : s.clients ? "Every client takes its responses." : "No client is connected.");
  $("slow-empty").hidden = s.slow.length > 0;
  text("slow-note", s.slow.length > most ? "the first " + most + " by unsent bytes" : "");
  const room = s.slow.length > 2 ? 2 : s.slow.length ? 3 : 5;
  rows("ended", s.ended.slice(0, room).map(e => make("tr", {}, make("td", { title: e.from + ", connection " + e.id }, short(e.from)), make("td", {}, e.reason.replace(/_/g, " ")),
    make("td", {}, ...united(bytes(e.unsent))), make("td", {}, span(e.ago)))));
  $("ended").hidden = !s.ended.length;
}

// topics takes the place of the plot of responses, whose rate the flow has, where clients subscribe.
function topics(s) {
  const list = s.busiest_topics || [], most = 6, some = list.length > 0; // rows that fit
  $("topic-card").hidden = !some;
  $("rate-card").hidden = some;
  if (!some) return;
  text("topic-note", plural(s.subscriptions, "subscription") + (s.topics > most ? ", the first " + most + " of " + whole(s.topics) + " topics" : ""));
  rows("topics", list.slice(0, most).map(t => make("tr", {},
    make("td", { title: "topic " + t.id + (t.name ? ", " + t.name : "") + ": frame " + whole(t.topic_seq) + ", " + plural(t.feeds, "feed") + ", " + bytes(t.memory_bytes).join(" ") + (t.waiting ? ", " + plural(t.waiting, "client") + " without a snapshot after a gap" : "") }, t.name || t.id),
    make("td", {}, whole(t.subscribers + t.waiting)), make("td", {}, rate(t.frames_per_second)), make("td", {}, rate(t.deliveries_per_second)),
    make("td", { title: plural(t.behind_frames, "frame") }, ...united(bytes(t.behind_bytes))), make("td", t.gaps ? { class: "state-slow", title: whole(t.gaps) } : {}, rate(t.gaps)))));
}

// plot draws lines over the last minutes. y maps a value to 0..1.
function plot(id, o) {
  const box = $(id), W = box.clientWidth, H = box.clientHeight, left = 46, right = o.right, top = 10, bottom = 20;
  if (W <= left + right) return; // it is hidden
  const shown = [60, 120, seconds].find(n => n >= points.length) || seconds;
  const w = W - left - right, h = H - top - bottom, end = points.length ? points[points.length - 1].n : 0;
  const x = n => left + w * (1 - (end - n) / (shown - 1)), y = v => top + h * (1 - o.y(v));
  const svg = draw("svg", { viewBox: "0 0 " + W + " " + H, role: "img", "aria-label": o.label });
  for (const [v, label] of o.ticks) {
    svg.append(draw("line", { class: "axis", x1: left, x2: W - right, y1: y(v), y2: y(v) }), draw("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, label));
  }
  const step = shown > 60 ? 60 * Math.ceil(shown / 60 * 62 / w) : 15 * Math.ceil(4 * 50 / w);
  for (let ago = 0; ago <= shown; ago += step) {
    const label = !ago ? "now" : shown > 60 ? "−" + ago / 60 + " min" : "−" + ago + " s";
    svg.append(draw("text", { x: left + w * (1 - ago / shown), y: H - 4, "text-anchor": ago === 0 ? "end" : ago === shown ? "start" : "middle" }, label));
  }
  const ends = [];
  for (const line of o.lines) {
    let d = "", pen = false, area = "", from = 0;
    for (const p of points) {
      const v = line.of(p);
      if (v === null) { if (pen && line.area) area += "V" + y(0) + "H" + from + "Z"; pen = false; continue; }
      const at = x(p.n).toFixed(1), to = y(v).toFixed(1);
      if (!pen) { from = at; d += "M" + at + " " + to + "h.01"; area += "M" + at + " " + to; } else { d += "L" + at + " " + to; area += "L" + at + " " + to; }
      pen = true;
    }
    if (pen && line.area) area += "V" + y(0) + "H" + from + "Z";
    if (line.area) svg.append(draw("path", { class: "area", d: area }));
    svg.append(draw("path", { class: line.kind, d }));
    const now = points.length ? line.of(points[points.length - 1]) : null;
    if (now !== null) ends.push({ y: y(now), kind: line.kind, label: line.name + line.text(now) });
  }
  ends.sort((a, b) => a.y - b.y);
  ends.forEach((e, i) => { if (i) e.y = Math.max(e.y, ends[i - 1].y + 14); });
  for (let i = ends.length - 1, room = H - bottom; i >= 0; i--, room -= 14) { ends[i].y = Math.min(ends[i].y, room); room = ends[i].y; }
  for (const e of ends) svg.append(draw("text", { class: "end " + e.kind, x: W - right + 8, y: e.y + 4 }, e.label));
  if (o.none) svg.append(draw("text", { class: "none", x: left + w / 2, y: top + h / 2 - 4, "text-anchor": "middle" }, o.none));
  if (hover !== null && o.hover && points.length) {
    const n = Math.round(end - (1 - (hover - left) / w) * (shown - 1)), p = points.find(p => p.n === n);
    if (p) svg.append(draw("line", { class: "cursor", x1: x(n), x2: x(n), y1: top, y2: top + h }));
    o.hover(p, end - n);
  }
  box.replaceChildren(svg);
}

function charts() {
  let low = Infinity, high = 0;
  for (const p of points) if (p.whole) { low = Math.min(low, p.whole.p50); high = Math.max(high, p.whole.p999); }
  const some = high > 0;
  if (!some) { low = 1e5; high = 1e6; }
  // Decades, with 2 and 5 between them if there are few.
  const a = Math.floor(Math.log10(Math.max(low, 1))), b = Math.max(Math.ceil(Math.log10(Math.max(high, 1) * 1.0001)), a + 1), ticks = [];
  for (let e = a; e <= b; e++) for (const m of b - a > 2 ? [1] : [1, 2, 5]) if (m === 1 || e < b) ticks.push([m * 10 ** e, axisTime(m * 10 ** e)]);
  const get = k => p => p.whole ? p.whole[k] : null, show = v => time(v).join(" ");
  if (hover === null) text("at", "");
  plot("latency", {
    label: "p50, p99 and p99.9 of the response latency over the last 5 minutes", right: 96, ticks, y: v => (Math.log10(Math.max(v, 1)) - a) / (b - a),
    lines: [{ kind: "p999", name: "p99.9 ", of: get("p999"), text: show }, { kind: "p99", name: "p99 ", of: get("p99"), text: show }, { kind: "p50", name: "p50 ", of: get("p50"), text: show }],
    none: some ? "" : "No responses in the last 5 minutes.",
    hover: (p, ago) => text("at", !p ? "" : ago + " s ago: " + (p.whole ? "p50 " + show(p.whole.p50) + ", p99 " + show(p.whole.p99) + ", p99.9 " + show(p.whole.p999) + ", worst " + show(p.whole.max) : "no responses")),
  });
  const most = Math.max(...points.map(p => p.responses), 1), step = nice(most / 3), top = step * Math.max(Math.ceil(most / step), 1);
  plot("rate", {
    label: "responses per second over the last 5 minutes", right: 58, ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, i) => [i * step, axisCount(i * step)]), y: v => v / top,
    lines: [{ kind: "p50", name: "", of: p => p.responses, text: rate, area: true }], none: "",
  });
}
const axisTime = ns => { for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) if (ns >= size) return ns / size + " " + unit; return ns + " ns"; };
const axisCount = v => v >= 1e6 ? v / 1e6 + " M" : v >= 1e3 ? v / 1e3 + " k" : String(+v.toFixed(1));
// nice rounds up to 1, 2 or 5 times a power of ten.
function nice(v) { const e = 10 ** Math.floor(Math.log10(v)), m = v / e; return (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10) * e; }

function show(s) {
  if (s.boot !== boot) { points = []; boot = s.boot; }
  points = points.concat(s.points).slice(-seconds);
  last = s;
  const p = points[points.length - 1] || { requests: 0, events: 0, commits: 0, released: 0, encoded: 0, responses: 0, bytes: 0 };
  header(s); flow(s, p); stages(s); shards(s); clients(s); topics(s); charts();
}

// One request at a time. Without an answer, the page shows since when, and tries again.
async function ask() {
  const known = points.length ? points[points.length - 1].n : 0;
  let s;
  try {
    const answer = await fetch("/live.json?after=" + known, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error("status " + answer.status);
    s = await answer.json();
  } catch (_) {
    since = since || Date.now();
    document.body.dataset.state = "lost";
    text("state", "no answer for " + span((Date.now() - since) / 1000));
    document.title = "sluice · no answer";
    setTimeout(ask, 1000);
    return;
  }
  since = 0;
  const again = s.boot !== boot && known > 0; // another run of the server: its points count from 1
  setTimeout(ask, again ? 0 : 1000);
  if (again) { points = []; boot = s.boot; } else show(s);
}

$("latency").addEventListener("mousemove", e => { hover = e.clientX - $("latency").getBoundingClientRect().left; charts(); });
$("latency").addEventListener("mouseleave", () => { hover = null; charts(); });
new ResizeObserver(() => { if (last) charts(); }).observe($("latency"));
// A program may serve its documentation.
fetch("/docs/", { method: "HEAD" }).then(answer => { $("docs").hidden = !answer.ok; }, () => {});
ask();
