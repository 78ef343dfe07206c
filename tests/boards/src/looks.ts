// What a reader would see of a panel: what is green, be it texts, backgrounds or pixels of graphs; and which
// titles and headings are cut.

const isGreen = (red: number, green: number, blue: number, opacity = 1) =>
  opacity > 0.1 && green > 60 && green > 1.25 * red && green > 1.25 * blue;

const hasGreen = (css: string) =>
  [...css.matchAll(/rgba?\(([^)]+)\)/g)].some(([, numbers]) => {
    const [red, green, blue, opacity] = numbers.split(/[\s,/]+/).map(Number);
    return isGreen(red, green, blue, opacity);
  });

const ownText = (element: Element) =>
  [...element.childNodes].map((node) => (node.nodeType === Node.TEXT_NODE ? node.textContent : '')).join('').trim();

function greenPixels(canvas: HTMLCanvasElement) {
  if (!canvas.width || !canvas.height) {
    return 0;
  }
  const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    count += Number(isGreen(data[at], data[at + 1], data[at + 2], data[at + 3] / 255));
  }
  return count;
}

/** What of a panel is green, each as a few words. */
export function greens(panel: Element): string[] {
  return [panel, ...panel.querySelectorAll('*')].flatMap((element) => {
    const style = getComputedStyle(element);
    const text = ownText(element);
    const found = [];
    if (text && hasGreen(style.color)) {
      found.push(`the text ${text}`);
    }
    if (hasGreen(style.backgroundColor + style.backgroundImage)) {
      found.push('a background');
    }
    if (element instanceof SVGElement && hasGreen(style.fill + style.stroke)) {
      found.push('a drawing');
    }
    if (element instanceof HTMLCanvasElement && greenPixels(element) > 10) {
      found.push('a graph');
    }
    return found;
  });
}

/** The titles and headings of a panel that there is no room for. */
export function cuts(panel: Element): string[] {
  return [...panel.querySelectorAll<HTMLElement>('*')]
    .filter((element) => {
      const heading = element.closest('h2, [role="columnheader"]') ?? element.querySelector(':scope > h2');
      return heading && element.innerText?.trim() && element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1;
    })
    .map((element) => element.innerText);
}
