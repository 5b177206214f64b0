// SPDX-License-Identifier: MIT
// A program on SignalWire's SDK for JavaScript. It prints a line of JSON at each step of a call.

const { SignalWire } = require("@signalwire/realtime-api");

const say = (step, found) => console.log(JSON.stringify({ step, ...found }));
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

async function handleCall(call) {
  await call.answer();
  say("answered", { state: call.state });
  const playback = await call.playTTS({ text: "Leave a message after the beep." }).onEnded();
  say("played", { state: playback.state });
  const recording = await call
    .recordAudio({
      beep: true,
      initialTimeout: 0,
      endSilenceTimeout: 0,
      terminators: "#",
      listen: { onUpdated: (one) => say("updated", { state: one.state }) },
    })
    .onStarted();
  say("started", { state: recording.state });
  await sleep(0.5);
  await recording.pause();
  await sleep(0.5);
  await recording.resume();
  await sleep(0.5);
  say("resumed", {});
  await recording.ended();
  say("ended", { state: recording.state, record: recording.record });
  await call.hangup();
  say("hung up", { state: call.state });
}

async function main() {
  const client = await SignalWire({
    host: process.env.HOST,
    project: process.env.PROJECT,
    token: process.env.TOKEN,
  });
  await client.voice.listen({
    topics: ["default"],
    onCallReceived: (call) =>
      handleCall(call).catch((error) => say("failed", { error: String(error) })),
  });
}

main();
