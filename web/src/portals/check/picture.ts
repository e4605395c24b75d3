// The text of a QR code in a picture file, read in the page.

/** Longest side at which a picture is looked at, in pixels. */
const SIDE_LIMIT = 2400;
/** Most time for looking at one picture, in ms. */
const PATIENCE_MS = 10_000;

/** The code's text, or nothing where no code can be read. */
export async function codeIn(file: Blob): Promise<string | undefined> {
  const { decodeQR } = await import('qr/decode.js');
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return undefined;
  }
  const scale = Math.min(1, SIDE_LIMIT / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.ceil(side * scale));
  const canvas = new OffscreenCanvas(width!, height!);
  const context = canvas.getContext('2d')!;
  // A transparent picture would be black on black.
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width!, height!);
  context.drawImage(bitmap, 0, 0, width!, height!);
  bitmap.close();
  try {
    const effort = { effort: Number.POSITIVE_INFINITY, timeLimit: PATIENCE_MS };
    return decodeQR(context.getImageData(0, 0, width!, height!), effort);
  } catch {
    return undefined;
  }
}
