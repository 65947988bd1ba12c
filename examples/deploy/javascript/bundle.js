// A bundle played with nothing but ONNX Runtime, in Node or in a browser: examples/plain_onnxruntime.py in
// JavaScript. Each stage reads the frame, or values that earlier stages left behind; stage i runs on every
// rates[i]-th frame, and what it left is read until it runs again.
"use strict";

class PlayedBundle {
  // ort: the onnxruntime module. manifest: the parsed manifest.json. openSession: (file name) -> session.
  static async open(ort, manifest, openSession, rates) {
    const bundle = new PlayedBundle();
    bundle.ort = ort;
    bundle.stages = manifest.stages;
    bundle.head = manifest.head;
    bundle.rates = rates || manifest.stages.map(() => 1);
    bundle.sessions = {};
    for (const part of [...manifest.stages, manifest.head]) {
      bundle.sessions[part.name] = await openSession(part.model);
    }
    bundle.values = {};
    bundle.count = 0;
    return bundle;
  }

  async run(part) {
    const feeds = {};
    for (const name of part.inputs) feeds[name] = this.values[name];
    return this.sessions[part.name].run(feeds, part.outputs);
  }

  // pixels: Uint8Array of height * width * 3, RGB. Gives the labels: Uint8Array of height * width.
  async step(pixels, height, width) {
    this.values.frame = new this.ort.Tensor("uint8", pixels, [height, width, 3]);
    for (const [i, stage] of this.stages.entries()) {
      if (this.count % this.rates[i] === 0) Object.assign(this.values, await this.run(stage));
    }
    this.count += 1;
    const found = await this.run(this.head);
    return found[this.head.outputs[0]].data;
  }
}

// RGBA, as canvases and PNG readers have it, to RGB.
function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return rgb;
}

if (typeof module !== "undefined") module.exports = { PlayedBundle, withoutAlpha };
