// A clip for the next message: from a file, the camera or the microphone. Nothing is uploaded before it is sent.

import { h, say } from './page.js';

const MOST_BYTES = 20 * 1024 * 1024;
const LONGEST_S = 30;
const KINDS = /^(video|audio)\//;

/** Buttons that fill one slot; `held()` is the clip in it. */
export function makeCapture(note) {
  let clip = null;
  let recorder = null;
  const shown = h('div', { class: 'clip' });
  const file = h('input', { type: 'file', accept: 'video/*,audio/*', class: 'unseen', tabindex: '-1', 'aria-hidden': 'true', id: 'clip-file' });
  const camera = h('button', { type: 'button', class: 'quiet', 'aria-pressed': 'false', onclick: () => record(camera, { video: { width: 640, height: 480 }, audio: true }) }, h('span', { 'aria-hidden': 'true' }, '◉'), 'Camera');
  const microphone = h('button', { type: 'button', class: 'quiet', 'aria-pressed': 'false', onclick: () => record(microphone, { audio: true }) }, h('span', { 'aria-hidden': 'true' }, '●'), 'Microphone');

  function take(blob, name) {
    if (!KINDS.test(blob.type)) return note(`${name} is neither video nor sound.`);
    if (blob.size > MOST_BYTES) return note(`${name} is larger than ${MOST_BYTES / 1024 / 1024} MB.`);
    drop();
    const address = URL.createObjectURL(blob);
    const seen = h(blob.type.startsWith('video') ? 'video' : 'audio', { src: address, controls: true, playsinline: true, 'aria-label': 'The clip that goes with the next message' });
    clip = { blob, name, address };
    shown.replaceChildren(seen, h('p', { class: 'note' }, `${name}, ${Math.max(1, Math.round(blob.size / 1024))} kB; goes with your next message. Write a few words too: the safety check reads words only.`),
      h('button', { type: 'button', class: 'link', onclick: drop }, 'Remove the clip'));
    say('The clip goes with your next message');
    return undefined;
  }

  function drop() {
    if (clip) URL.revokeObjectURL(clip.address);
    clip = null;
    shown.replaceChildren();
    file.value = '';
  }

  async function record(button, wish) {
    if (recorder) {
      recorder.stop();
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(wish);
    } catch (error) {
      note(error.name === 'NotFoundError' ? 'No such device was found.' : 'The browser was not allowed to record.');
      return;
    }
    const parts = [];
    const kind = wish.video ? 'video/webm' : 'audio/webm';
    recorder = new MediaRecorder(stream, { mimeType: kind });
    recorder.addEventListener('dataavailable', (event) => parts.push(event.data));
    recorder.addEventListener('stop', () => {
      stream.getTracks().forEach((track) => track.stop());
      button.setAttribute('aria-pressed', 'false');
      recorder = null;
      take(new Blob(parts, { type: kind }), wish.video ? 'camera clip' : 'spoken clip');
    });
    if (wish.video) {
      const live = h('video', { muted: true, playsinline: true, 'aria-label': 'What the camera sees' });
      live.muted = true;
      live.srcObject = stream;
      shown.replaceChildren(live, h('p', { class: 'note' }, `Recording, ${LONGEST_S} s at most; press Camera again to stop.`));
      live.play().catch(() => {});
    } else shown.replaceChildren(h('p', { class: 'note' }, `Recording, ${LONGEST_S} s at most; press Microphone again to stop.`));
    button.setAttribute('aria-pressed', 'true');
    recorder.start();
    const mine = recorder;
    setTimeout(() => { if (mine.state === 'recording') mine.stop(); }, LONGEST_S * 1000);
  }

  file.addEventListener('change', () => { if (file.files[0]) take(file.files[0], file.files[0].name); });
  return {
    buttons: [camera, microphone, h('button', { type: 'button', class: 'quiet', title: 'A clip from a file', onclick: () => file.click() }, h('span', { 'aria-hidden': 'true' }, '+'), 'Clip'), file],
    shown,
    held: () => clip,
    drop,
    stop: () => recorder?.stop(),
  };
}

/** The clip as a data URL. */
export function asDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener('load', () => resolve(reader.result));
    reader.addEventListener('error', () => reject(new Error('the clip cannot be read')));
    reader.readAsDataURL(blob);
  });
}
