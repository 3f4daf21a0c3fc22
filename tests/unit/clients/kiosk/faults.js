// What a reader of the rendered page would call broken: out of the window, cut off, or laid over something else.
// An expression: a function that returns one sentence for each fault.
() => {
  const faults = [];
  const screen = document.querySelector("#screen");
  const glass = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
  const HELD = "button, main, footer, header, .say, .do, .row, li";
  const SAID = "button, p, dd, dt, h1, h2, li > span, .picture, .entry";
  const said = (e) => `${e.tagName.toLowerCase()} ${e.getAttribute("class") ?? ""} "${e.textContent.trim().slice(0, 24)}"`;
  const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest(".spoken, [popover]");
  const inside = (box, other) =>
    box.left >= other.left - 1 && box.right <= other.right + 1 && box.top >= other.top - 1 && box.bottom <= other.bottom + 1;
  for (const e of screen.querySelectorAll("*")) {
    if (!seen(e) || (e.closest("svg") && e.tagName !== "svg")) continue;
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    if (!inside(box, glass)) faults.push(`out of the window: ${said(e)}`);
    const [x, y] = [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight];
    if (e.matches(HELD) && (x > 2 || y > 2) && getComputedStyle(e).display !== "contents") {
      faults.push(`overflows: ${said(e)} ${x},${y}`);
    }
  }
  const boxes = [...screen.querySelectorAll(SAID)].filter(seen).map((e) => [e, e.getBoundingClientRect()]);
  boxes.forEach(([a, one], i) => {
    for (const [b, other] of boxes.slice(i + 1)) {
      if (a.contains(b) || b.contains(a)) continue;
      const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (wide > 2 && high > 2) faults.push(`over each other: ${said(a)} and ${said(b)}`);
    }
  });
  return faults;
};
