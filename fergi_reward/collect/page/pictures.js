/** The pictures of a session, loaded and decoded before they are shown. */

/** @type {Map<string, Promise<string>>} The address on the server to one in memory. */
let loaded = new Map();

/** A picture that the server did not give or that cannot be decoded. */
export class PictureMissing extends Error {}

/**
 * Load pictures and forget all others.
 *
 * @param {{image: string, url: string}[]} pictures
 * @returns {Promise<Map<string, HTMLImageElement>>} By image, decoded.
 * @throws {PictureMissing}
 */
export async function load(pictures) {
  const before = loaded;
  loaded = new Map(pictures.map(({ url }) => [url, before.get(url) ?? fetched(url)]));
  for (const [url, address] of before) if (!loaded.has(url)) address.then(URL.revokeObjectURL, () => {});
  try {
    return new Map(await Promise.all(pictures.map(async ({ image, url }) => [image, await decoded(await loaded.get(url))])));
  } catch (error) {
    loaded = new Map();
    throw new PictureMissing(String(error));
  }
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return URL.createObjectURL(await answer.blob());
}

async function decoded(address) {
  const image = new Image();
  image.src = address;
  image.alt = "";
  image.draggable = false;
  await image.decode();
  return image;
}
