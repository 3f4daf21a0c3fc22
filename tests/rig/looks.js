// What can be seen of a screen, measured as it is drawn. Evaluated in the page; returns a list of what is wrong.
(wanted) => {
  const found = [];
  const screen = document.querySelector("#screen");
  const mm = (pixels) => pixels / wanted.pixelsPerMm;
  const visible = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  };
  const called = (element) => {
    const data = Object.entries(element.dataset).map(([name, value]) => `${name}=${value}`).join(" ");
    return `<${element.localName} ${element.className?.baseVal ?? element.className} ${data}>`;
  };

  // --- everything is on the panel ---
  const root = document.scrollingElement;
  if (root.scrollWidth > innerWidth || root.scrollHeight > innerHeight)
    found.push(`the page is ${root.scrollWidth}×${root.scrollHeight} on ${innerWidth}×${innerHeight}`);
  const ofText = [];
  for (const walker = document.createTreeWalker(screen, NodeFilter.SHOW_TEXT); walker.nextNode();) {
    const node = walker.currentNode;
    if (node.data.trim() && node.parentElement.localName !== "style" && visible(node.parentElement)) ofText.push(node);
  }
  for (const node of ofText) {
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width < 1) continue;
      if (box.left < -1 || box.top < -1 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1)
        found.push(`text off the panel: ${node.data.trim().slice(0, 30)} in ${called(node.parentElement)}`);
    }
  }
  for (const element of screen.querySelectorAll("*")) {
    if (!visible(element)) continue;
    const { overflowX, overflowY } = getComputedStyle(element);
    if (element.closest("[popover]:not(:popover-open)") || element.closest("svg")) continue;
    const wide = element.scrollWidth > element.clientWidth + 2;
    const high = element.scrollHeight > element.clientHeight + 2;
    const holds = element.matches("button, header, main, footer, .say, .do, .row, li, .alert");
    if ((overflowX !== "visible" && wide) || (overflowY !== "visible" && high) || (holds && (wide || high)))
      found.push(`does not fit: ${called(element)} ${element.scrollWidth}×${element.scrollHeight} in ${element.clientWidth}×${element.clientHeight}`);
  }

  // --- buttons ---
  const buttons = [...document.querySelectorAll("#screen button")].filter(visible);
  for (const button of buttons) {
    const box = button.getBoundingClientRect();
    const least = button.matches(".primary") ? wanted.primaryMm : wanted.targetMm;
    if (Math.min(mm(box.width), mm(box.height)) < least - 0.05)
      found.push(`small: ${called(button)} ${mm(box.width).toFixed(1)}×${mm(box.height).toFixed(1)} mm, not ${least}`);
    if (box.left < -1 || box.top < -1 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1) found.push(`off the panel: ${called(button)}`);
  }
  const commits = (button) => button.matches(".primary");
  const cancels = (button) => button.dataset.press === "cancel";
  for (const [at, one] of buttons.entries())
    for (const other of buttons.slice(at + 1)) {
      const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
      const x = Math.max(a.left - b.right, b.left - a.right), y = Math.max(a.top - b.bottom, b.top - a.bottom);
      const gap = mm(x > 0 && y > 0 ? Math.hypot(x, y) : Math.max(x, y));
      const least = (commits(one) && cancels(other)) || (cancels(one) && commits(other)) ? wanted.commitGapMm : wanted.gapMm;
      if (gap < least - 0.05) found.push(`close: ${called(one)} and ${called(other)}, ${gap.toFixed(1)} mm, not ${least}`);
    }

  // --- contrast (WCAG 2, relative luminance) ---
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const colours = new Map();
  const rgba = (text) => {
    if (!colours.has(text)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      colours.set(text, [...canvas.getImageData(0, 0, 1, 1).data].map((value) => value / 255));
    }
    return colours.get(text);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, at) => value * a + under[at] * (1 - a));
  const ground = (element) => {
    if (!element) return [1, 1, 1];
    const colour = rgba(getComputedStyle(element).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, ground(element.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const opacity = (element) => (element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1);
  for (const node of ofText) {
    const element = node.parentElement;
    if (element.closest(":disabled")) continue;
    const under = ground(element);
    const colour = rgba(getComputedStyle(element).color);
    const seen = ratio(over([...colour.slice(0, 3), colour[3] * opacity(element)], under), under);
    if (seen < wanted.textContrast - 0.01) found.push(`contrast ${seen.toFixed(1)}: ${node.data.trim().slice(0, 30)} in ${called(element)}`);
  }
  for (const button of buttons.filter((one) => !one.disabled)) {
    const style = getComputedStyle(button);
    const under = ground(button.parentElement);
    const border = parseFloat(style.borderTopWidth) ? over(rgba(style.borderTopColor), under) : under;
    const seen = Math.max(ratio(border, under), ratio(ground(button), under));
    if (seen < wanted.shapeContrast - 0.01) found.push(`outline ${seen.toFixed(1)}: ${called(button)}`);
  }

  // --- letters: the cap height of BIZ UD Gothic is 0.765 em ---
  for (const node of ofText) {
    const element = node.parentElement;
    if (element.closest(".code, rt, .spoken, [data-entry]")) continue;
    const height = mm(parseFloat(getComputedStyle(element).fontSize) * 0.765);
    const small = element.closest(".tools, .official, .other");
    const note = element.closest(".key, .quiet, .secondary, .step, .aside, .note, .contact");
    const least = small ? wanted.smallLetterMm : note ? wanted.letterMm : wanted.sentenceMm;
    if (height < least - 0.05) found.push(`letters of ${height.toFixed(1)} mm, not ${least}: ${node.data.trim().slice(0, 20)} in ${called(element)}`);
  }
  return [...new Set(found)];
}
