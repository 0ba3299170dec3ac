// Decides how the photo becomes pixels: decoded once, kept per size and part, for all panes together.

import { pen } from "./element.js";
import { groundOf } from "./paint.js";

/** @param {string} address */
export function createPhoto(address) {
  const image = new Image();
  const ready = new Promise((resolve, reject) => {
    image.addEventListener("load", () => resolve(null));
    image.addEventListener("error", () => reject(new Error("The photo did not load.")));
  });
  image.src = address;
  const canvas = document.createElement("canvas");
  let key = "";
  /** @type {ReturnType<typeof groundOf> | null} */
  let ground = null;

  return {
    ready,
    loaded: () => image.complete && image.naturalWidth > 0,
    /**
     * @param {number} width
     * @param {number} height
     * @param {Part} part
     */
    ground(width, height, { left, top, size }) {
      const asked = [width, height, left, top, size].join();
      if (ground && key === asked) return ground;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = pen(canvas);
      context.imageSmoothingQuality = "high";
      const { naturalWidth: w, naturalHeight: h } = image;
      context.drawImage(image, left * w, top * h, size * w, size * h, 0, 0, width, height);
      ground = groundOf(context.getImageData(0, 0, width, height));
      key = asked;
      return ground;
    },
  };
}
