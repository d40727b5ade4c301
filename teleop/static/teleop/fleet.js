import "./plot.js";
