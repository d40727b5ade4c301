// Lists of names that the browser keeps for the next visit.

const MOST_NAMES = 500; // of all robots

export function readNames(key) {
  try {
    const names = JSON.parse(localStorage.getItem(key));
    return new Set(Array.isArray(names) ? names : []);
  } catch {
    return new Set(); // not ours
  }
}

export function keepNames(key, names) {
  localStorage.setItem(key, JSON.stringify([...names].slice(-MOST_NAMES)));
}
