// Keeps the end of what grows in view, until the reader scrolls up.

const kNear = 48;  // px from the end that count as being there

export class Follow {
  // `button` is shown while the end is out of view, and leads there.
  constructor(scroller, content, button) {
    this.scroller_ = scroller;
    this.button_ = button;
    this.following_ = true;
    this.top_ = 0;
    scroller.addEventListener('scroll', () => this.scrolled_(), { passive: true });
    button.addEventListener('click', () => this.to_end());
    const observer = new ResizeObserver(() => (this.following_ ? this.to_end() : this.show_button_()));
    observer.observe(content);
    observer.observe(scroller);
  }

  to_end() {
    this.following_ = true;
    this.scroller_.scrollTop = this.scroller_.scrollHeight;
    this.top_ = this.scroller_.scrollTop;
    this.show_button_();
  }

  // Growth moves the end away without a move up, so only a move up ends the following.
  scrolled_() {
    const top = this.scroller_.scrollTop;
    if (this.near_end_()) this.following_ = true;
    else if (top < this.top_ - 2) this.following_ = false;
    this.top_ = top;
    this.show_button_();
  }

  near_end_() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller_;
    return scrollHeight - scrollTop - clientHeight < kNear;
  }

  show_button_() {
    this.button_.hidden = this.following_ || this.near_end_();
  }
}
