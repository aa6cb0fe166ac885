/**
 * The face landmarker in a thread of its own, so that the page's clock never waits for it. Pictures come in; only
 * numbers leave.
 */

import { FaceLandmarker } from "/runtime/vision_bundle.mjs";
import ModuleFactory from "/runtime/vision_wasm_module_internal.js";
import { browDown, browLowering, eyeDistance, headAngles, inPixels } from "./face.js";
import { Light } from "./light.js";
import { ViewerTracker, boxAround } from "./tracker.js";

const MOST_FACES = 3; // so that bystanders are noticed
const LEAST_CONFIDENCE = 0.9; // that FERGI asks of a detected face

const light = new Light();
let tracker = new ViewerTracker();
let milliseconds = -1;
const ready = start();

async function start() {
  self.ModuleFactory = ModuleFactory; // where the landmarker looks for it
  self.custom_dbg = () => {}; // the loader declares it in a block, where a module's strict mode does not see it
  return FaceLandmarker.createFromOptions(
    { wasmLoaderPath: "", wasmBinaryPath: "/runtime/vision_wasm_module_internal.wasm" },
    {
      baseOptions: { modelAssetPath: "/model/face_landmarker.task", delegate: "CPU" },
      runningMode: "VIDEO",
      numFaces: MOST_FACES,
      minFaceDetectionConfidence: LEAST_CONFIDENCE,
      outputFaceBlendshapes: true,
      outputFacialTransformationMatrixes: true,
    },
  );
}

self.onmessage = async ({ data }) => {
  if (data.another) tracker = new ViewerTracker();
  else await answer(data);
};

/** @param {{time: number, picture: ImageBitmap}} frame */
async function answer({ time, picture }) {
  try {
    const landmarker = await ready;
    milliseconds = Math.max(milliseconds + 1, Math.trunc(time)); // MediaPipe's must rise
    self.postMessage(measured(landmarker.detectForVideo(picture, milliseconds), time, picture));
  } catch {
    self.postMessage({ time, lost: true });
  } finally {
    picture.close();
  }
}

function measured(result, time, picture) {
  const faces = result.faceLandmarks.map((landmarks) => inPixels(landmarks, picture.width, picture.height));
  const chosen = tracker.follow(faces.map(boxAround));
  const common = { time, faces: faces.length, brightness: light.of(picture) };
  if (chosen < 0) return { ...common, au4: null, shape: null, confidence: 0, pitch: null, yaw: null, eyes: null };
  return {
    ...common,
    au4: browLowering(faces[chosen]),
    shape: browDown(result.faceBlendshapes[chosen].categories),
    confidence: 1,
    eyes: eyeDistance(faces[chosen]),
    ...headAngles(result.facialTransformationMatrixes[chosen].data),
  };
}

ready.then(
  () => self.postMessage({ ready: true }),
  (error) => self.postMessage({ broken: String(error) }),
);
