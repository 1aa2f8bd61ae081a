"use strict";
(() => {
  const find = (name) => document.querySelector(`[data-${name}]`);
  const [form, zone, file, button, bar, status] = ["form", "zone", "file", "send", "progress", "status"].map(find);
  const place = `../files/${location.pathname.split("/").pop()}`;
  let isBusy = false;

  const say = (words, state) => {
    status.textContent = words;
    status.dataset.state = state;
  };

  const fail = (words) => {
    isBusy = false;
    form.hidden = false;
    bar.hidden = true;
    file.value = "";
    say(words, "failed");
    file.focus();
  };

  const answerOf = (request) => {
    try {
      return JSON.parse(request.responseText);
    } catch {
      return {}; // a proxy's page
    }
  };

  const send = (chosen) => {
    if (isBusy || !chosen) return;
    isBusy = true;
    form.hidden = true;
    bar.hidden = false;
    bar.value = 0;
    say(`Sending ${chosen.name} …`, "sending");
    const request = new XMLHttpRequest();
    request.open("PUT", `${place}?name=${encodeURIComponent(chosen.name)}`);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
    };
    request.onload = () => {
      const answer = answerOf(request);
      if (request.status !== 201) {
        fail(answer.error?.message || answer.error || `The server answered ${request.status}. Try again.`);
        return;
      }
      bar.hidden = true;
      say(`${answer.audio} is there. Go back to the chat and say so.`, "done");
    };
    request.onerror = () => fail("The connection was lost, and nothing was stored. Try again.");
    request.send(chosen);
  };

  button.hidden = true;
  file.addEventListener("change", () => send(file.files[0]));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(file.files[0]);
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      zone.toggleAttribute("data-over", true);
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.toggleAttribute("data-over", false);
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.toggleAttribute("data-over", false);
    const files = event.dataTransfer.files;
    if (files.length > 1) say("One file only: drop the one that is to be used.", "failed");
    else send(files[0]);
  });
  window.addEventListener("beforeunload", (event) => {
    if (isBusy && status.dataset.state === "sending") event.preventDefault();
  });
})();
