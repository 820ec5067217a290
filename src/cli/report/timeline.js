// SPDX-License-Identifier: Apache-2.0
// Theory of operation: timelines(root, pictures) draws what "outlive report --json" prints (report.h says
// what is in a picture): parts of a run on a line, charts on the same time axis under it, the pause, and
// the rounds as a table. The benchmarks' page calls the same function. Text only ever goes in escaped.
"use strict";

const WIDTH = 960, LEFT = 8, RIGHT = 8;
const KINDS = {sends: ["--sends", "--sends-2"], stands: ["--stands", "--stands-2"], runs: ["--runs", "--runs"]};
const LINES = ["--a", "--b", "--c", "--d"];

function escaped(text) {
	return String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function digits(value) {
	const size = Math.abs(value);
	return value.toFixed(size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : 2);
}

function millis(ms) {
	return ms >= 1000 ? `${digits(ms / 1000)} s` : ms >= 1 || ms === 0 ? `${digits(ms)} ms` : `${digits(ms * 1000)} µs`;
}

// The same for the marks of an axis, which are round: no zeros behind the point.
function mark(text) {
	return text.replace(/(\.\d*?)0+(?= )/, "$1").replace(/\.(?= )/, "");
}

function bytes(value) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let at = 0;
	for (; value >= 1024 && at + 1 < units.length; at++)
		value /= 1024;
	return `${digits(value)} ${units[at]}`;
}

function amount(value, unit) {
	return unit === "ms" ? millis(value) : unit === "bytes" ? bytes(value) :
		unit === "bytes/s" ? `${bytes(value)}/s` : `${digits(value)} ${unit}`;
}

// Round steps that split 0..top into three to six.
function ticks(top, base) {
	const rough = top / 4, power = base ? base ** Math.floor(Math.log(rough) / Math.log(base)) :
		10 ** Math.floor(Math.log10(rough));
	const step = (base ? [1, 2, 5, 10, 20, 50, 100, 200, 500] : [1, 2, 5, 10]).map((n) => n * power)
		.find((n) => n >= rough) || rough;
	const found = [];
	for (let at = 0; at <= top * 1.0001; at += step)
		found.push(at);
	return found;
}

function timeAxis(span, x, y, height) {
	return ticks(span).map((ms) => `<line class=grid x1="${x(ms)}" x2="${x(ms)}" y1="${y - height}" y2="${y}"/>` +
		`<text class=dim x="${x(ms)}" y="${y + 14}" text-anchor="${ms > span * 0.96 ? "end" : ms ? "middle" : "start"}">${mark(millis(ms))}</text>`).join("");
}

function scale(span) {
	return (ms) => (LEFT + (WIDTH - LEFT - RIGHT) * Math.max(0, ms) / (span || 1)).toFixed(1);
}

// Parts side by side, two tones in turn, with their name where there is room for it.
function band(parts, span, height, axis) {
	const x = scale(span), count = {};
	const drawn = parts.map((part) => {
		const tones = KINDS[part.kind] || KINDS.runs, turn = (count[part.kind] = (count[part.kind] || 0) + 1) - 1;
		const from = Number(x(part.from)), wide = Math.max(2, Number(x(part.to)) - from - 1.5);
		const label = wide > part.name.length * 7.2 + 10 ?
			`<text class="${part.kind === "runs" || turn % 2 ? "name" : "on"}" x="${from + wide / 2}" y="${height / 2 + 4}" text-anchor="middle">${escaped(part.name)}</text>` : "";
		const tip = `${part.name}: ${millis(part.to - part.from)}\n${part.text}`;
		return `<g data-tip="${escaped(tip)}"><rect x="${from}" y="0" width="${wide}" height="${height}" rx="3" fill="var(${tones[turn % 2]})"/>${label}</g>`;
	}).join("");
	const scaleMarks = axis ? timeAxis(span, x, height + 4, 0) : "";
	return `<svg viewBox="0 0 ${WIDTH} ${height + (axis ? 22 : 4)}" role="img">${drawn}${scaleMarks}</svg>`;
}

function topOf(chart) {
	const values = chart.series.flatMap((line) => line.points.map((point) => point[1]));
	return Math.max(...values, 0) || 1;
}

// Rates hold over the stretch before their point, everything else runs from point to point.
function path(points, x, y, steps) {
	return points.map((point, at) => at && steps ? `H${x(points[at - 1][0])}V${y(point[1])}H${x(point[0])}` :
		`${at ? "L" : "M"}${x(point[0])} ${y(point[1])}`).join("");
}

function dots(line, at, x, y) {
	return line.points.length > 24 ? "" : line.points.map((point) =>
		`<circle cx="${x(point[0])}" cy="${y(point[1])}" r="3" fill="var(${LINES[at]})"/>`).join("");
}

function limitLine(limit, top, y) {
	if (!limit || limit > top * 1.5)
		return "";
	return `<line class=limit x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(limit)}" y2="${y(limit)}"/>` +
		`<text x="${WIDTH - RIGHT}" y="${y(limit) - 4}" text-anchor=end>limit ${millis(limit)}</text>`;
}

function chart(one, span, pause) {
	const height = 110, x = scale(span), limit = one.unit === "ms" ? pause["limit-ms"] : 0;
	const top = Math.max(topOf(one), limit && limit <= topOf(one) * 1.5 ? limit * 1.05 : 0);
	const y = (value) => (height - (height - 8) * Math.min(value, top) / top).toFixed(1);
	const marks = ticks(top, one.unit.startsWith("bytes") ? 1024 : 0).filter((value) => value <= top);
	const grid = marks.map((value) => `<line class=grid x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}"/>` +
		(value ? `<text class=dim x="${LEFT}" y="${y(value) - 3}">${mark(amount(value, one.unit))}</text>` : "")).join("");
	const lines = one.series.map((line, at) => `<path d="${path(line.points, x, y, one.unit === "bytes/s")}" fill="none" stroke="var(${LINES[at]})" stroke-width="2" stroke-linejoin="round"/>${one.unit === "bytes/s" ? "" : dots(line, at, x, y)}`).join("");
	const keys = one.series.length < 2 ? "" : one.series.map((line, at) =>
		`<span class=key style="background:var(${LINES[at]})"></span><span class=note>${escaped(line.name)}</span>`).join("");
	return `<h3>${escaped(one.title)}${keys}</h3><svg class=chart viewBox="0 0 ${WIDTH} ${height + 20}" role="img" data-unit="${escaped(one.unit)}">` +
		`${grid}${timeAxis(span, x, height + 4, 0)}${limitLine(limit, top, y)}${lines}<line class=hair visibility=hidden y1=0 y2=${height} /></svg>`;
}

function tile(value, words) {
	return value === undefined ? "" : `<div class=tile><b>${millis(value)}</b><span>${words}</span></div>`;
}

function pauseOf(picture) {
	const pause = picture.pause;
	const tiles = tile(picture["total-ms"], "in all") + tile(pause["said-ms"], "the guest stood still") +
		tile(pause["felt-ms"], "the guest felt, by its own clock") + tile(pause["predicted-ms"], "was predicted") +
		tile(pause["limit-ms"], "was the limit");
	const parts = pause.parts && pause.parts.length ?
		`<h3>The pause</h3>${band(pause.parts, pause["said-ms"], 30, true)}` : "";
	return [`<div class=tiles>${tiles}</div>`, parts];
}

function rounds(picture) {
	if (!picture.rounds.length)
		return "";
	const row = (one) => `<tr><td>${one.round}</td><td>${millis(one.from)}</td><td>${millis(one.to - one.from)}</td>` +
		`<td>${bytes(one.sent)}</td><td>${bytes(one.rate)}/s</td><td>${bytes(one["dirty-rate"])}/s</td>` +
		`<td>${one.throttle ? `${digits(one.throttle)} %` : ""}</td><td>${millis(one["predicted-ms"])}</td></tr>`;
	return `<details><summary>${picture.rounds.length} round${picture.rounds.length > 1 ? "s" : ""}</summary><div class=scroll><table><tr><th>round</th><th>at</th><th>took</th><th>sent</th>` +
		`<th>link</th><th>guest wrote</th><th>slowed by</th><th>pause expected</th></tr>${picture.rounds.map(row).join("")}</table></div></details>`;
}

function pictureHtml(picture) {
	const bad = picture.end !== "completed", [tiles, parts] = pauseOf(picture), span = picture["total-ms"];
	const facts = picture.facts.map((fact) => `<span>${escaped(fact.name)} <b>${escaped(fact.text)}</b></span>`).join(" ");
	return `<section class=card><h2>${escaped(picture.title)}<span class="pill${bad ? " bad" : ""}">${escaped(picture.end)}</span></h2>` +
		`<p class=facts>${facts}</p>${picture.error ? `<p>${escaped(picture.error)}</p>` : ""}${tiles}` +
		`<h3>What happened when</h3>${band(picture.parts, span, 34, true)}` +
		`${parts}${picture.charts.map((one) => chart(one, span, picture.pause)).join("")}${rounds(picture)}</section>`;
}

// The value of each line at a time: that of the newest point before it, or of the stretch it is in.
function valueAt(line, ms, steps) {
	const after = line.points.findIndex((point) => point[0] >= ms);
	const at = steps ? after : after > 0 && line.points[after][0] > ms ? after - 1 : after;
	return at < 0 ? undefined : line.points[at][1];
}

function hover(section, picture, tip) {
	const span = picture["total-ms"], charts = [...section.querySelectorAll("svg.chart")];
	const show = (text, event) => {
		tip.textContent = text;
		tip.hidden = !text;
		tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
		tip.style.top = `${event.clientY + 16}px`;
	};
	section.addEventListener("mousemove", (event) => {
		const part = event.target.closest("[data-tip]"), over = event.target.closest("svg.chart");
		charts.forEach((one) => one.querySelector(".hair").setAttribute("visibility", over ? "visible" : "hidden"));
		if (!over)
			return show(part ? part.dataset.tip : "", event);
		const box = over.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * WIDTH;
		const ms = Math.min(span, Math.max(0, (at - LEFT) / (WIDTH - LEFT - RIGHT) * span));
		charts.forEach((one) => ["x1", "x2"].forEach((name) => one.querySelector(".hair").setAttribute(name, scale(span)(ms))));
		const rows = picture.charts.flatMap((one) => one.series.map((line) => [line, one.unit])).map(([line, unit]) => {
			const value = valueAt(line, ms, unit === "bytes/s");
			return value === undefined ? "" : `\n${line.name}: ${amount(value, unit)}`;
		});
		return show(`${millis(ms)}${rows.join("")}`, event);
	});
	section.addEventListener("mouseleave", (event) => show("", event));
}

function timelines(root, pictures) {
	const tip = document.createElement("div");
	tip.className = "tip";
	tip.hidden = true;
	document.body.append(tip);
	root.insertAdjacentHTML("beforeend", pictures.map(pictureHtml).join(""));
	[...root.querySelectorAll(":scope > section")].slice(-pictures.length).forEach((section, at) => hover(section, pictures[at], tip));
}
