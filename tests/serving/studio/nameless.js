// Things to use or to read that a screen reader could not name.
() => [...document.querySelectorAll('button, a, input, select, textarea, video, audio, [role]')]
  .filter((node) => node.checkVisibility() && !node.closest('[aria-hidden=true]') && node.getAttribute('role') !== 'alert')
  .filter((node) => !(node.innerText?.trim() || node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.labels?.length || node.title))
  .map((node) => node.outerHTML.slice(0, 120))
